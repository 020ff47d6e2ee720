"""GitHub as the runners of one host use it: who asks, what is remembered between two runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..base import documents, times
from ..base.configuration import ConfigurationError
from ..base.github import login, release
from ..base.github.errors import ForgeError, LimitedError, RefusedError
from ..base.github.release import Release, ReleaseError
from ..base.github.rights import NEEDED
from ..base.github.transport import Meter, Transport
from ..base.ports import Effects
from . import guard, state
from .api import Runners
from .guard import GuardVerdict
from .layout import Places
from .settings import Instance, RunnersSettings

_ORGANIZATION_PERMISSIONS = {
    "organization_self_hosted_runners": "write",
    "organization_administration": "read",
}
# A converge believes this long what the healer last learned about forks; the healer asks each time.
GUARD_BELIEVED_SECONDS = 600.0
# How old a version is only grows: a list of yesterday still tells nearly all of it.
_RELEASES_KNOWN_SECONDS = 14 * 86400.0
_ARCHITECTURES = {"linux-x64": "X64", "linux-arm64": "ARM64", "linux-arm": "ARM"}


class GitHubClient:
    """The connections of one run."""

    def __init__(
        self,
        settings: RunnersSettings,
        effects: Effects,
        places: Places,
        platform: str,
        *,
        remembers: bool = True,
    ) -> None:
        """Nothing is asked yet.

        ``platform`` is the host's in the names of releases; ``remembers`` is off in check
        mode, which leaves no notes.
        """
        self.settings, self.effects, self.places = settings, effects, places
        self.platform = platform
        self._remembers = remembers
        self.meter = Meter()
        self.api = lru_cache(maxsize=None)(self._connect)
        self._releases: list[Release] | None = None

    @property
    def can_ask(self) -> bool:
        """Whether there is a login at all: a bare registration token answers no question."""
        return self.settings.login.method != "registration_token"

    @property
    def architecture_label(self) -> str:
        """The label by which jobs ask for this kind of processor."""
        return _ARCHITECTURES[self.platform]

    def queued_seconds(self, instance: str) -> float | None:
        """Return for how long a job has been waiting, by what the healer last learned."""
        document = documents.read(self.places.shared("queue")) or {}
        since = state.moment((document.get("oldest_queued_at") or {}).get(instance))
        return None if since is None else max(0.0, self.effects.now() - since)

    def _connect(self, target: str) -> Runners:
        """Return the connection to a target.

        Raises:
            ConfigurationError: there is no token; says where it was looked for.

        """
        settings, effects = self.settings, self.effects
        token = login.token_source(
            settings.login,
            settings.github.api_url,
            target,
            NEEDED["runners"] if "/" in target else _ORGANIZATION_PERMISSIONS,
            run=effects.run,
            fetch=effects.fetch,
            now=effects.now,
        )
        transport = Transport(
            effects.fetch, settings.github.api_url, token, effects.now, self.meter
        )
        return Runners(transport, target)

    def registration_token(self, target: str) -> str:
        """Return a secret to register with: a fresh one, or the one that the operator gave."""
        if self.can_ask:
            return self.api(target).registration_token()
        given = self.settings.login
        return login.secret_from_file(Path(given.token_file), f"{given.path}.token_file")

    # --- releases -----------------------------------------------------------

    def releases(self) -> list[Release]:
        """Return the newest releases, from the last run's notes when they are fresh.

        Raises:
            ReleaseError, ForgeError: GitHub does not say.

        """
        if self._releases is None:
            fresh = self.settings.timing.releases_max_age_seconds
            self._releases = self._remembered_releases(fresh) or self._ask_for_releases()
        return self._releases

    def _remembered_releases(self, max_age_seconds: float) -> list[Release]:
        document = documents.read(self.places.shared("releases")) or {}
        checked = state.moment(document.get("checked_at")) or 0.0
        age = self.effects.now() - checked
        same_place = document.get("api_url") == self.settings.github.releases_url
        if not same_place or not 0 <= age <= max_age_seconds:
            return []
        try:
            return [Release(**item) for item in document["releases"]]
        except (KeyError, TypeError):
            return []

    def _ask_for_releases(self) -> list[Release]:
        found = release.recent(self.ask_release, self.platform)
        document: dict[str, Any] = {
            "api_url": self.settings.github.releases_url,
            "checked_at": times.iso(self.effects.now()),
            "releases": [asdict(item) for item in found],
        }
        self._remember("releases", document)
        return found

    def outdated_days(self, version: str | None) -> float | None:
        """Return for how many days a version has been outdated, by what was last learned."""
        if not version:
            return None
        try:
            found = self._releases or self._remembered_releases(_RELEASES_KNOWN_SECONDS)
            return release.outdated_days(version, found, self.effects.now()) if found else None
        except ReleaseError:
            return None

    def ask_release(self, path: str) -> Any:
        """Return a document about releases.

        They are public, and an App's token is none for another repository: so nobody asks,
        and somebody only where that is refused (a mirror, or many hosts behind one address).
        """
        settings, effects = self.settings, self.effects
        nobody = Transport(
            effects.fetch, settings.github.releases_url, lambda: "", effects.now, self.meter
        )
        try:
            return nobody.rest("GET", path)
        except (RefusedError, LimitedError):
            same_server = settings.github.releases_url == settings.github.api_url
            if not (same_server and self.can_ask and settings.instances):
                raise
            return self.api(settings.instances[0].target).ask(path)

    # --- who may be served ----------------------------------------------------

    def judge(self, instance: Instance, *, believed_seconds: float = 0.0) -> GuardVerdict:
        """Return whether an instance's target may be served.

        Who can see it is always asked; what forks may start is believed from the last time
        when that is at most ``believed_seconds`` ago and was fine.
        """
        if not self.can_ask:
            return _unasked(instance)
        try:
            api = self.api(instance.target)
        except (ConfigurationError, ForgeError, OSError) as error:
            return GuardVerdict(
                (f"{instance.target}: GitHub cannot be asked: {error}",), unknown=True
            )
        if believed_seconds and self.recorded(instance, believed_seconds):
            verdict = guard.visibility(api, instance)
            if verdict.ok:
                return verdict
        else:
            verdict = guard.both(api, instance)
        # An answer that did not come leaves the last one standing until it is too old.
        if not verdict.unknown:
            self._record(instance, verdict)
        return verdict

    def recorded(self, instance: Instance, max_age_seconds: float) -> bool:
        """Whether it was allowed to serve the target when it was last asked, not too long ago."""
        entry = self._verdicts().get(instance.name) or {}
        checked = state.moment(entry.get("checked_at")) or 0.0
        return (
            entry.get("ok") is True
            and entry.get("asked") == _asked(instance)
            and 0 <= self.effects.now() - checked <= max_age_seconds
        )

    def problems(self, instance: Instance) -> tuple[str, ...]:
        """Return what was found when it was last asked."""
        entry = self._verdicts().get(instance.name) or {}
        return tuple(entry.get("problems") or ())

    def _verdicts(self) -> dict[str, Any]:
        document = documents.read(self.places.shared("guard")) or {}
        found = document.get("instances")
        return found if isinstance(found, dict) else {}

    def _record(self, instance: Instance, verdict: GuardVerdict) -> None:
        known = {item.name for item in self.settings.instances}
        entries = {name: entry for name, entry in self._verdicts().items() if name in known}
        entries[instance.name] = {
            "asked": _asked(instance),
            "ok": verdict.ok,
            "problems": list(verdict.problems),
            "checked_at": times.iso(self.effects.now()),
        }
        self._remember("guard", {"instances": entries})

    def _remember(self, name: str, document: dict[str, Any]) -> None:
        if self._remembers:
            documents.replace(self.places.shared(name), document)


def _asked(instance: Instance) -> str:
    """Return what a verdict depends on, so that it is not believed of anything else."""
    allowed = [bool(instance.public_repository_reason), bool(instance.open_fork_policy_reason)]
    return json.dumps([instance.target, instance.group, *allowed])


def _unasked(instance: Instance) -> GuardVerdict:
    if instance.public_repository_reason and instance.open_fork_policy_reason:
        return GuardVerdict(())
    return GuardVerdict(
        (
            f"{instance.target}: with a bare registration token GitHub cannot be asked whether it is private; log in"
            " with a token or an App (github.logins.runners)",
        ),
        unknown=True,
    )
