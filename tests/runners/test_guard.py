"""Whom runners serve: a private repository whose forks start nothing unasked, or what somebody vouches for."""

from __future__ import annotations

from typing import Any

import pytest

from factory.core.runners import guard
from factory.core.runners.settings import Instance, Mode
from runners.support import REPOSITORY, Site

APPROVAL = f"/repos/{REPOSITORY}/actions/permissions/fork-pr-contributor-approval"
FORKS = f"/repos/{REPOSITORY}/actions/permissions/fork-pr-workflows-private-repos"
UNASKED = {"run_workflows_from_fork_pull_requests": True}
ASKED = {**UNASKED, "require_approval_for_fork_pr_workflows": True}
VOUCHED = {"public_repository_reason": "open source", "open_fork_policy_reason": "nobody forks"}


def judge(site: Site, **instance: Any) -> str:
    site.section["instances"][0].update(instance)
    chosen = site.settings().instances[0]
    verdict = guard.both(site.github_client().api(chosen.target), chosen)
    return " / ".join(verdict.problems)


def settings(site: Site, **values: Any) -> None:
    site.client.control("POST", "/settings", {"repository": REPOSITORY, **values})


# settings of the repository, of the instance, and what is objected to
CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {}, ""),
    ({"private": False}, {}, "it is public"),
    ({"private": False}, {"public_repository_reason": "open source"}, ""),
    # The policy of approvals does not apply to a private repository, vouched for or not.
    ({"fork_approval_policy": "first_time_contributors"}, {}, ""),
    ({}, {"public_repository_reason": "may be opened"}, ""),
    ({"fork_workflows": UNASKED}, {"public_repository_reason": "x"}, "without approval"),
    ({"fork_workflows": UNASKED}, {}, "run workflows without approval"),
    ({"fork_workflows": ASKED}, {}, ""),
    ({"fork_workflows": {**ASKED, "send_secrets_and_variables": True}}, {}, "given secrets"),
    ({"fork_workflows": UNASKED}, {"open_fork_policy_reason": "nobody forks"}, ""),
    (
        {"private": False, "fork_approval_policy": "first_time_contributors"},
        {"public_repository_reason": "open source"},
        "only as first_time_contributors",
    ),
    ({"private": False, "fork_approval_policy": "first_time_contributors"}, VOUCHED, ""),
]


@pytest.mark.parametrize(("repository", "instance", "objection"), CASES)
def test_the_verdict_follows_the_repository_and_the_operators_word(
    site: Site, repository: dict[str, Any], instance: dict[str, Any], objection: str
) -> None:
    settings(site, **repository)

    problems = judge(site, **instance)

    assert bool(problems) is bool(objection)
    assert objection in problems


# which request fails how, with which vouching, and whether that is held against the target
SILENCE: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    (f"/repos/{REPOSITORY}", {"answer": {"status": 500}}, {}, True),
    (f"/repos/{REPOSITORY}", {"answer": {"status": 404}}, {}, True),
    (f"/repos/{REPOSITORY}", {"disconnect": True}, {}, True),
    (f"/repos/{REPOSITORY}", {"answer": {"status": 404, "body": []}}, {}, True),
    (APPROVAL, {"answer": {"status": 403}}, {}, True),
    (APPROVAL, {"answer": {"status": 502}}, {}, True),
    # A private repository has no such setting; a public one must say.
    (APPROVAL, {"answer": {"status": 404}}, {}, False),
    (APPROVAL, {"answer": {"status": 422}}, {}, False),
    (APPROVAL, {"answer": {"status": 410}}, {}, True),
    (FORKS, {"answer": {"status": 404}}, {}, True),
    (FORKS, {"rate_limit": "primary"}, {}, True),
    (FORKS, {"answer": {"status": 403}}, {"open_fork_policy_reason": "x"}, False),
]


@pytest.mark.parametrize(("path", "fault", "instance", "held_against"), SILENCE)
def test_what_github_does_not_say_is_held_against_the_target(
    site: Site, path: str, fault: dict[str, Any], instance: dict[str, Any], held_against: bool
) -> None:
    site.client.control("POST", "/faults", {"path": path, **fault})

    problems = judge(site, **instance)

    assert bool(problems) is held_against, problems
    assert ("GitHub does not say" in problems) is held_against
    # The cure for an unknown is an answer, never to allow what may be forbidden.
    assert "_reason" not in problems


@pytest.mark.parametrize("status", [404, 422])
def test_a_public_repository_without_a_word_on_approvals_is_not_served(
    site: Site, status: int
) -> None:
    settings(site, private=False)
    site.client.control("POST", "/faults", {"path": APPROVAL, "answer": {"status": status}})

    assert "whose workflows wait" in judge(site, public_repository_reason="open source")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "private"),
        ({"private": "yes"}, "private"),
        ([], "list"),
        ({"private": True, "visibility": "public"}, "public"),
    ],
)
def test_an_answer_of_another_shape_says_nothing(document: Any, words: str) -> None:
    class Odd:
        target = REPOSITORY
        is_organization = False

        def ask(self, path: str) -> Any:
            return document

    verdict = guard.visibility(Odd(), Instance(name="x", mode=Mode.NATIVE, target=REPOSITORY))  # type: ignore[arg-type]

    assert words in verdict.problems[0]


def test_an_organizations_group_must_not_serve_public_repositories(site: Site) -> None:
    site.section["instances"][0]["target"] = "factory"
    assert judge(site) == ""

    made = {"name": "open", "allows_public_repositories": True}
    site.client.rest("POST", "/orgs/factory/actions/runner-groups", made)
    assert "'open' allows public repositories" in judge(site, group="open")
    assert "there is no runner group 'none'" in judge(site, group="none")

    policy = {"approval_policy": "first_time_contributors"}
    path = "/orgs/factory/actions/permissions/fork-pr-contributor-approval"
    site.client.rest("PUT", path, policy)
    assert "only as first_time_contributors" in judge(site, group="Default")


def test_a_refused_target_gets_no_runner_and_no_token_is_minted(site: Site) -> None:
    settings(site, private=False)

    run = site.converge()

    assert "it is public" in run.report.failures[0]
    assert site.registered() == {}
    assert not [request for request in site.requests() if request.startswith("POST")]
    assert not site.places.root.exists()


def test_what_was_learned_of_forks_is_believed_for_a_while_but_not_of_visibility(
    site: Site,
) -> None:
    site.fine()
    site.forget_requests()
    assert site.fine(believed_seconds=600) == []
    assert not [request for request in site.requests() if "fork-pr" in request]

    settings(site, private=False)
    assert "it is public" in site.converge(believed_seconds=600).report.failures[0]

    settings(site, private=True, fork_workflows=UNASKED)
    # The last verdict was not fine, so nothing is believed.
    assert "without approval" in site.converge(believed_seconds=600).report.failures[0]


def test_an_unanswered_question_leaves_the_last_verdict_standing_until_it_is_too_old(
    site: Site,
) -> None:
    site.fine()
    github, chosen = site.github_client(), site.settings().instances[0]
    site.client.control("POST", "/faults", {"path": "*", "answer": {"status": 502}})

    assert not github.judge(chosen).ok
    assert github.recorded(chosen, 600)
    assert not github.recorded(chosen, -1)


def test_a_verdict_is_not_believed_of_another_target_or_group(site: Site) -> None:
    site.fine()
    site.section["instances"][0]["target"] = "factory/other"

    assert not site.github_client().recorded(site.settings().instances[0], 600)
