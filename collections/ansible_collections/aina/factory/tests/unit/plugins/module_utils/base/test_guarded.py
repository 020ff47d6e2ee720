"""Which paths a person looks at, whoever changes them."""

from __future__ import annotations

import pytest

from factory.core.base import guarded


@pytest.mark.parametrize(
    "path",
    [
        "AGENTS.md",
        "src/AGENTS.override.md",
        "agents.MD",
        "docs/agent.md",
        "CLAUDE.local.md",
        "GEMINI.md",
        ".agents/skills/x/SKILL.md",
        "a/.codex/config.toml",
        ".CLAUDE/settings.json",
        ".cursorrules",
        ".cursor/rules/x.mdc",
        ".windsurfrules",
        ".clinerules",
        ".mcp.json",
        ".vscode/tasks.json",
        ".github/copilot-instructions.md",
        ".github/workflows/ci.yml",
        # A link, or a file, in place of a directory.
        ".github",
        "app/.claude",
        "AGENTS.md/x",
        ".gitmodules",
        "vendor/.gitattributes",
        "docs/CODEOWNERS",
    ],
)
def test_what_steers_agents_is_guarded_wherever_it_lies(path: str) -> None:
    assert guarded.matches(guarded.STANDARD, path)


@pytest.mark.parametrize(
    "path",
    [
        "MYAGENTS.md",
        "AGENTS.md.txt",
        "src/agents.py",
        "github/x",
        "a.github/x",
        ".gitignore",
        "README.md",
    ],
)
def test_other_names_are_free(path: str) -> None:
    assert not guarded.matches(guarded.STANDARD, path)


def test_a_pattern_may_hold_slashes_and_stars_and_nothing_else() -> None:
    paths = ["deploy/prod/x", "a/deploy/prod", "deploy/test", "xdeploy/prod", "a+.md", "aa.md"]
    assert guarded.matching(("deploy/prod/", "a+.md"), paths) == [*paths[:2], "a+.md"]
    assert guarded.matching(("d*/p*",), paths) == paths[:2]
    assert guarded.matching((), paths) == []
