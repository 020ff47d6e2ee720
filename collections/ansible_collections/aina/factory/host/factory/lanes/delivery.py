"""What reaches GitHub: the repositories on this side, and a finished lane's pull request."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory import effects
from factory.core.base.github import login
from factory.core.base.github.errors import RefusedError
from factory.core.base.github.git import git_environment
from factory.core.base.github.rights import NEEDED
from factory.core.base.github.transport import Transport
from factory.core.lanes import collect, identity, outcome
from factory.core.lanes.forge import LaneForge
from factory.core.lanes.settings import LaneProject, LanesSettings
from factory.lanes import claiming, tasks

_OUTPUT_MAX_BYTES, _MEMORY_MAX_BYTES, _FILE_MAX_BYTES = 64 << 20, 512 << 20, 1 << 30
_PROCESSOR_SECONDS = 60
# What reads a lane's work is one short process at a time, and ends at these whatever stands in that work.
_BOUNDS = (
    *("prlimit", f"--data={_MEMORY_MAX_BYTES}", f"--fsize={_FILE_MAX_BYTES}"),
    *(f"--cpu={_PROCESSOR_SECONDS}", "--core=0", "--"),
)
# What yields a token for a repository, and the repository at GitHub.
GitHub = tuple[Callable[[], str], LaneForge]


def repository(
    settings: LanesSettings, project: LaneProject, token: str, *, results: bool = False
) -> collect.LaneMirror:
    """Return the project's mirror, or the repository that takes lanes' work.

    They are two: no lane sees another's work, and the mirror is what lanes read.
    """
    directory = Path(settings.mirror_dir, f"{project.name}{'.results' if results else ''}.git")
    github, prefix = settings.github, []
    if settings.git_user:
        prefix = [
            *("setpriv", f"--reuid={settings.git_user}", f"--regid={settings.git_user}"),
            *("--clear-groups", "--no-new-privs", "--"),
        ]
    # A few bytes of a bundle can stand for any number of paths, and any length of a message.
    found = collect.LaneMirror(
        effects.run_bounded(_OUTPUT_MAX_BYTES),
        directory,
        f"{github.web_url}/{project.repository}.git",
        login=git_environment(github.web_url, github.ca_file, token) if token else {},
        prefix=prefix,
        bounds=_BOUNDS if results else (),
    )
    if results:
        found.ensure()
        alternates = directory / "objects/info/alternates"
        wanted = f"{settings.mirror_dir}/{project.name}.git/objects\n"
        if not alternates.exists() or alternates.read_text() != wanted:
            alternates.write_text(wanted)
            alternates.chmod(0o644)
    return found


def github(settings: LanesSettings, project: LaneProject) -> GitHub:
    """Return the way to the project's repository.

    Raises:
        ConfigurationError: there is no token.

    """
    fetch = effects.https_fetch(settings.github.ca_file or None)
    token = login.token_source(
        settings.github.login_of("lanes"),
        settings.github.api_url,
        project.repository,
        NEEDED["lanes"],
        run=effects.run,
        fetch=fetch,
        now=time.time,
    )
    transport = Transport(fetch, settings.github.api_url, token, time.time)
    return token, LaneForge(transport, project.repository)


def deliver(
    settings: LanesSettings,
    project: LaneProject,
    forge: LaneForge,
    token: str,
    result: dict[str, Any],
) -> None:
    """Push a finished lane's work and open its pull request; ``result`` says so afterwards.

    What is under guard is asked of git here, where the push is, whichever way led here.

    Raises:
        CollectError: git refuses.
        ForgeError: GitHub refuses or does not answer.

    """
    lane, issue = str(result["lane"]), int(result["issue"])
    results = repository(settings, project, token, results=True)
    held = claiming.keep(results, issue, lane) if issue else None
    _deliver(project, forge, results, result)
    if held is not None:
        claiming.release(results, issue, held)


def _refuse_a_second(forge: LaneForge, issue: int, own: str) -> None:
    for branch in forge.open_branches():
        if identity.issue_of_branch(branch) == issue and branch != own:
            raise RefusedError(
                f"branch {branch} is the open pull request for #{issue}; close that, or take this"
                " lane's work into it with factory lane resume"
            )


def _deliver(
    project: LaneProject,
    forge: LaneForge,
    results: collect.LaneMirror,
    result: dict[str, Any],
) -> None:
    lane, issue = str(result["lane"]), int(result["issue"])
    conflict, is_whole = result.get("conflict"), result["outcome"] in outcome.DELIVERED
    head, guarded = results.guarded(lane, tasks.start_of(result), project.guarded_paths)
    if not conflict and issue and not result.get("continues"):
        _refuse_a_second(forge, issue, identity.branch(issue, lane))
    result["guarded_paths"] = guarded[: collect.PATHS_MAX_COUNT]
    if (
        conflict
        and is_whole
        # In review a person looks at all of it; the marshal holds what is under guard.
        and (not guarded or result.get("is_review"))
        and identity.issue_of_branch(conflict["branch"]) is not None
    ):
        # A lane made that branch, so another may go on with it. It is only ever added to.
        results.push(head, conflict["branch"])
        result["branch"] = conflict["branch"]
        result["pull_request"] = {"number": issue, "url": conflict["url"]}
        result["delivery"] = "done"
        return
    # A follow-up is added to the branch that there is; its pull request is found by that.
    branch = str(result.get("continues") or "") or identity.branch(issue, lane)
    base = project.default_branch
    results.push(head, branch)
    title = str(result.get("title") or result.get("subject") or f"Work of lane {lane}")
    closes = f"Closes #{issue}." if issue else ""
    if conflict:
        # Somebody's own branch: it is theirs to take this in.
        base, title = conflict["branch"], f"Resolve the conflict of #{issue}"
        closes = f"Merges `{conflict['base_branch']}` into the branch of #{issue}."
    lines = [
        closes,
        f"Made by lane `{lane}` ({result.get('agent') or result['engine']}, {result['model']}): {result['summary']}.",
        f"{result['requests_count']} requests, {result['tokens']} tokens, {result['duration_seconds']} s.",
    ]
    if not is_whole:
        lines.append(
            f"It is not finished, so it stays a draft: the lane ended as `{result['outcome']}`."
        )
    if guarded:
        lines.append(
            f"It changes paths under guard, so it stays a draft until somebody has read them and gives it the"
            f" label `{project.guarded_label}`: " + ", ".join(f"`{path}`" for path in guarded[:20])
        )
    pull = forge.open_pull_request(
        branch,
        base,
        title[: collect.SUBJECT_MAX_LENGTH],
        "\n\n".join(filter(None, lines)),
        draft=bool(guarded) or not is_whole or project.draft,
    )
    result["branch"] = branch
    result["pull_request"] = {"number": pull.number, "url": pull.url}
    result["delivery"] = "done"
