"""A workflow judged as one of a repository's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml

from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.workflows import judge, semantics
from factory.core.workflows.document import Document
from factory.core.workflows.judge import WorkflowReport
from factory.core.workflows.settings import WorkflowPolicy
from factory.core.workflows.yaml_nodes import composer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
COMPOSE = composer(yaml)
CHECK = """\
name: ci
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: pnpm check
"""


def judged(
    text: str,
    neighbours: dict[str, str] | None = None,
    *,
    actions: dict[str, Any] | None = None,
    remote: dict[str, str] | None = None,
    forks: str = "",
    declined: dict[str, int] | None = None,
    **values: Any,
) -> WorkflowReport:
    """Judge ci.yml in a repository that holds these other workflows, and actions, too."""
    policy = settings.read(WorkflowPolicy, Section(values, "policy"))
    others = replace(
        semantics.neighbours({"ci.yml": text, **(neighbours or {})}, COMPOSE).without("ci.yml"),
        actions=actions or {},
        remote={call: Document(text, COMPOSE) for call, text in (remote or {}).items()},
        forks=forks,
    )
    return judge.judge(
        "ci.yml", text, policy, COMPOSE, lambda *_: COMMIT, others, declined=declined
    )
