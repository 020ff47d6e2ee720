"""Look by night how far a server has drifted from its declaration, and converge only by a signed tag.

The look is a check run of the very playbooks that would converge the server, on the server
itself, by the Ansible that the repository pins. A check run is code of the repository that runs
as root. So where persons are declared who may sign, nothing but what they have signed is run,
looks included: whoever can only push to the repository reaches nothing on the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base.configuration import Section
from .base.errors import FactoryError
from .base.ports import Completed, Run

FETCH_SECONDS = 300.0
SETUP_SECONDS = 1800.0
RUN_SECONDS = 3600.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")
_PATTERN = re.compile(r"[A-Za-z0-9*][A-Za-z0-9.*_/-]*\Z")
_WORDS_COUNT = 12


class DriftError(FactoryError):
    """The look or the converge was refused or failed; says why. Nothing is known of the drift."""


@dataclass(frozen=True)
class Settings:
    """The ``drift`` section."""

    repository: str
    branch: str
    inventory: str
    playbook: str
    host: str
    checkout: Path
    signers: Path | None
    tag_pattern: str
    environment: Mapping[str, str]


def from_section(section: Section) -> Settings:
    """Read the ``drift`` section.

    Raises:
        ConfigurationError: a value is wrong; names the key.

    """
    signers = section.absolute_path("signers_path", "") if section.has("signers_path") else ""
    settings = Settings(
        repository=section.text("repository"),
        branch=section.matching("branch", _NAME, "be the name of a branch", "main"),
        inventory=section.matching("inventory", _NAME, "be a path inside the repository"),
        playbook=section.matching(
            "playbook", _NAME, "be a path inside the repository", "playbooks/site.yml"
        ),
        host=section.matching("host", _NAME, "be the server's name in the inventory"),
        checkout=Path(section.absolute_path("checkout_path", "/var/lib/aina-factory/checkout")),
        signers=Path(signers) if signers else None,
        tag_pattern=section.matching("tag_pattern", _PATTERN, "be a pattern of tags", "converge/*"),
        environment=section.mapping_of_strings("environment", {}),
    )
    section.done()
    return settings


class Checkout:
    """The server's own copy of the repository that declares it."""

    def __init__(self, settings: Settings, run: Run) -> None:
        """Keep what every call needs."""
        self._settings, self._run = settings, run

    def _git(self, *words: str) -> Completed:
        argv = ["git", "-C", str(self._settings.checkout), *words]
        environment = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **self._settings.environment}
        return self._run(argv, environment=environment, timeout_seconds=FETCH_SECONDS)

    def _demand(self, *words: str) -> str:
        done = self._git(*words)
        if not done.ok:
            raise DriftError(f"git {words[0]}: {said(done)}")
        return done.stdout.decode(errors="replace").strip()

    def refresh(self) -> str:
        """Fetch branch and tags; return the commit of the branch.

        Raises:
            DriftError: the repository does not answer.

        """
        if not (self._settings.checkout / ".git").exists():
            self._settings.checkout.mkdir(parents=True, exist_ok=True)
            self._demand("init", "--quiet")
        branch = self._settings.branch
        self._demand(
            # A tag that was taken back is gone here as well.
            "fetch", "--quiet", "--prune", "--force", self._settings.repository,
            f"+refs/heads/{branch}:refs/remotes/origin/{branch}", "+refs/tags/*:refs/tags/*",
        )  # fmt: skip
        return self._demand("rev-parse", "--verify", f"refs/remotes/origin/{branch}^{{commit}}")

    def lay_out(self, commit: str) -> None:
        """Have exactly the files of the commit; whatever else was there is gone.

        Raises:
            DriftError: git refuses.

        """
        self._demand("checkout", "--quiet", "--force", "--detach", commit)
        self._demand("clean", "--quiet", "-ffdx", "--exclude=.venv", "--exclude=.cache")

    @property
    def has_signers(self) -> bool:
        """Whether somebody is declared whose signature counts."""
        signers = self._settings.signers
        return signers is not None and signers.exists() and bool(signers.read_text().strip())

    def signed(self, head: str, applied: str) -> tuple[str, str]:
        """Return name and commit of the newest tag that may be applied.

        Raises:
            DriftError: there is none, it is not signed by a declared person, or it is not a
                step forward along the branch.

        """
        if self._settings.signers is None:
            raise DriftError(
                "drift.signers_path is not declared, so nobody may sign what is applied"
            )
        pattern = f"refs/tags/{self._settings.tag_pattern}"
        # The last key counts first; tags of the same second go by their names.
        listing = self._demand(
            "for-each-ref", "--sort=-version:refname", "--sort=-creatordate", "--count=1",
            "--format=%(refname)", pattern,
        )  # fmt: skip
        if not listing:
            raise DriftError(f"there is no tag {self._settings.tag_pattern}")
        name = listing.removeprefix("refs/tags/")
        verified = self._git(
            "-c", "gpg.format=ssh",
            "-c", f"gpg.ssh.allowedSignersFile={self._settings.signers}",
            "verify-tag", name,
        )  # fmt: skip
        if not verified.ok:
            raise DriftError(
                f"tag {name} is not signed by anybody in {self._settings.signers}: {said(verified)}"
            )
        commit = self._demand("rev-parse", "--verify", f"{listing}^{{commit}}")
        if not self._git("merge-base", "--is-ancestor", commit, head).ok:
            raise DriftError(f"tag {name} is not on the branch {self._settings.branch}")
        if applied and not self._git("merge-base", "--is-ancestor", applied, commit).ok:
            raise DriftError(
                f"tag {name} does not contain {applied[:12]}, which was applied last; converge by hand "
                "if going back is meant"
            )
        return name, commit


def play(settings: Settings, run: Run, recap: Path, *, check: bool) -> Completed:
    """Run the playbook on this server, by the Ansible of the checkout; its recap lands in ``recap``.

    Raises:
        DriftError: Ansible cannot be set up.

    """
    environment = {
        "AINA_RECAP_FILE": str(recap),
        "ANSIBLE_CONFIG": str(settings.checkout / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "true",
        "LC_ALL": "C.UTF-8",
        # What the server trusts; pip brings a list of its own.
        "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
        **settings.environment,
    }
    directory = str(settings.checkout)
    setup = run(
        [str(settings.checkout / "script/setup")],
        cwd=directory,
        environment=environment,
        timeout_seconds=SETUP_SECONDS,
    )
    if not setup.ok:
        raise DriftError(f"script/setup: {said(setup)}")
    argv = [
        str(settings.checkout / ".venv/bin/ansible-playbook"),
        "--inventory",
        settings.inventory,
    ]
    argv += ["--limit", settings.host, "--connection", "local"]
    argv += [*(["--check", "--diff"] if check else []), settings.playbook]
    return run(argv, cwd=directory, environment=environment, timeout_seconds=RUN_SECONDS)


def changes(recap: Mapping[str, Any]) -> list[str]:
    """Return what a run has changed, or would have, as sentences.

    Raises:
        DriftError: the recap says that the run was none, or not a check run.

    """
    found = []
    for item in recap["changes"]:
        what = [str(phrase) for phrase in item["what"]]
        more = f" and {len(what) - _WORDS_COUNT} more" if len(what) > _WORDS_COUNT else ""
        shown = ", ".join(what[:_WORDS_COUNT])
        found.append(f"{item['task']}: {shown}{more}" if what else str(item["task"]))
    return found


def document(
    found: Sequence[str], error: str, previous: Mapping[str, Any], now: str, commit: str
) -> dict[str, Any]:
    """Return what is kept of a look. When something was first seen stays with it.

    After a look that failed, what the last good one had found is still shown.
    """
    earlier = {
        item["what"]: item["since"]
        for item in previous.get("changes", [])
        if isinstance(item, Mapping)
    }
    listed = [{"what": what, "since": earlier.get(what, now)} for what in found]
    if error:
        listed = [{"what": what, "since": since} for what, since in earlier.items()]
    return {"schema": 1, "checked_at": now, "commit": commit, "error": error, "changes": listed}


def said(done: Completed) -> str:
    """Return the end of what a program said."""
    text = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
    return " ".join(text.splitlines()[-8:]) or f"status {done.returncode}"
