"""Carry out what :mod:`native` has planned: users, trees, registrations, units."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.github import release
from ..base.ports import Completed
from ..base.run import checked
from ..host import managed_files, units
from ..host.units import UnitStatus
from . import layout, native, native_unit, processes
from .api import Deletion
from .github_client import GitHubClient
from .native import (
    DesiredRunner,
    Do,
    LocalRunner,
    NativeError,
    RegisteredState,
    Registration,
    RegistrationStatus,
    RunnerSteps,
)
from .settings import Instance

VERSION_MARK = ".aina-factory-version"
_RUNNER_FILES = (
    *(".runner", ".runner_migrated", ".service"),
    *(".credentials", ".credentials_migrated", ".credentials_rsaparams"),
)
_CONFIGURE_SECONDS = 300.0
_ACTION_SECONDS = 120.0
_ONLINE_SECONDS = 90.0
_POLL_SECONDS = 2.0
_DRAIN_POLL_SECONDS = 10.0
_RUNNER_FILE_MAX_BYTES = 65536
_VERSIONS_KEPT = 2


class BusyError(NativeError):
    """It has a job; the step waits for another run."""


@dataclass(frozen=True)
class Waits:
    """How long a run waits for a job to end."""

    drain_seconds: float = 0.0


@dataclass(frozen=True)
class Identity:
    """What a runner's own file says that it is."""

    id: int
    name: str


def identity(tree: Path) -> Identity | None:
    """Return what the file in a runner's tree says, into which a job may have put anything."""
    try:
        descriptor = os.open(
            tree / ".runner", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        text = file.read(_RUNNER_FILE_MAX_BYTES).decode("utf-8-sig", errors="replace")
    try:
        document = json.loads(text)
        found = {str(key).lower(): value for key, value in document.items()}
        return Identity(int(found["agentid"]), str(found.get("agentname", "")))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


class NativeHost:
    """One native instance on this host."""

    def __init__(
        self, instance: Instance, github: GitHubClient, waits: Waits, play_runner_name: str = ""
    ) -> None:
        """Nothing is looked at yet; ``play_runner_name`` is the runner whose job this play is."""
        self.instance, self.github, self.waits = instance, github, waits
        self._hosts_play = play_runner_name == github.settings.runner_name(instance.name)
        self.places = github.places
        self.tree = self.places.tree(instance.name)
        self.user = layout.user(instance.name)
        self.unit = layout.native_unit(instance.name)
        self.unit_text = native_unit.render(instance, github.settings, self.places)

    # --- looking --------------------------------------------------------------

    def wish(self, version: str, *, rests: str) -> DesiredRunner:
        instance = self.instance
        return DesiredRunner(
            present=instance.present,
            rests=rests,
            url=self.github.settings.web_url(instance.target),
            name=self.github.settings.runner_name(instance.name),
            group=instance.group,
            default_labels=instance.default_labels,
            work_dir=str(self.places.home(instance.name) / "_work"),
            labels=instance.wanted_labels,
            version=version,
            replace=instance.replace,
        )

    def local(self, unit: UnitStatus) -> LocalRunner:
        registration = native.read_registration(self.places.registration(self.instance.name))
        changed = units.changed_at(str(self.places.unit(self.instance.name)))
        return LocalRunner(
            has_user=_has_user(self.user),
            version=_read_text(self.tree / VERSION_MARK),
            registration=registration,
            configured=registration is not None and self._local_id() == registration.id,
            has_leftovers=any(os.path.lexists(path) for path in self._remains()),
            unit_differs=_read_text(self.places.unit(self.instance.name)) != self.unit_text.strip(),
            unit=unit,
            is_stale=bool(changed and unit.started_at and changed > unit.started_at),
            hosts_us=self._hosts_play or processes.hosts_us(str(self.tree), self.places.proc),
        )

    def remote(self, registration: Registration | None) -> RegisteredState:
        """Return GitHub's side, by one request at most.

        Raises:
            ForgeError: GitHub does not say, so nothing may be concluded.

        """
        if not self.github.can_ask:
            return RegisteredState(RegistrationStatus.UNASKED)
        if registration is None:
            return RegisteredState(RegistrationStatus.NEVER)
        found = self.github.api(self._target_of(registration)).get(registration.id)
        return (
            RegisteredState(RegistrationStatus.GONE)
            if found is None
            else RegisteredState(RegistrationStatus.REGISTERED, found)
        )

    def _target_of(self, registration: Registration) -> str:
        """Return the target of an earlier registration: the declared one may have changed since."""
        base = self.github.settings.web_url("")
        return registration.url.removeprefix(base).strip("/") or self.instance.target

    def _local_id(self) -> int | None:
        found = identity(self.tree)
        return None if found is None else found.id

    def _remains(self) -> list[Path]:
        name, places = self.instance.name, self.places
        return [
            self.tree,
            places.home(name),
            places.registration(name),
            places.unit(name),
            places.state / f"{name}.json",
        ]

    # --- acting ---------------------------------------------------------------

    def carry_out(
        self, plan: RunnerSteps, wish: DesiredRunner, done: Callable[[str], None]
    ) -> None:
        """Carry the steps out; ``done`` hears of each that is.

        Raises:
            BusyError: a job does not end in time.
            NativeError, ForgeError, ReleaseError, UnitsError, ManagedFilesError: a step failed.

        """
        actions: Mapping[Do, Callable[[], None]] = {
            Do.MAKE_USER: self._make_user,
            Do.FETCH: lambda: self._fetch(wish.version),
            Do.CLOSE: self._close,
            Do.STOP: self._stop,
            Do.SWITCH: lambda: self._switch(wish.version),
            Do.REGISTER: lambda: self._register(wish),
            Do.LABEL: self._label,
            Do.WRITE_UNIT: self._write_unit,
            Do.RELOAD: lambda: self._systemctl("daemon-reload"),
            Do.ENABLE: lambda: self._systemctl("enable", self.unit),
            Do.DISABLE: lambda: self._systemctl("disable", self.unit),
            Do.START: self._start,
            Do.AWAIT: self._await_online,
            Do.REMOVE: self._remove,
        }
        for step in plan.steps:
            actions[step.do]()
            done(str(step))

    def _run(
        self, argv: Sequence[str], what: str, *, seconds: float = _ACTION_SECONDS, **more: Any
    ) -> Completed:
        return checked(
            self.github.effects.run,
            argv,
            name=what,
            error=NativeError,
            timeout_seconds=seconds,
            **more,
        )

    def _systemctl(self, verb: str, unit: str = "") -> None:
        units.apply([units.Action(verb, unit, "")], self.github.effects.run)

    def _make_user(self) -> None:
        home = str(self.places.home(self.instance.name))
        argv = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home]
        self._run([*argv, "--shell", "/usr/sbin/nologin", self.user], "useradd")

    def _fetch(self, version: str) -> None:
        github = self.github
        chosen = release.choose(github.releases(), version, github.ask_release, github.platform)
        chosen = release.pinned(
            chosen, github.settings.version_sha256, "gh_actions_runner_version_sha256"
        )
        if not (self.places.versions / version).is_dir():
            archive = release.tarball(chosen, self.places.cache, github.effects.fetch)
            release.unpack(chosen, archive, self.places.versions, github.effects.run)
        program = str(self.places.versions / version / "bin/Runner.Listener")
        said = self._run([program, "--version"], f"{program} --version").stdout.decode().strip()
        if said != version:
            raise NativeError(f"{program} calls itself {said!r} and not {version}; it is not used")

    def _close(self) -> None:
        """Have GitHub send no more jobs, which it agrees to only while there is none."""
        path = self.places.registration(self.instance.name)
        registration = native.read_registration(path)
        if registration is not None and self.github.can_ask:
            api = self.github.api(self._target_of(registration))
            self._wait_for(
                lambda: api.delete(registration.id) is not Deletion.BUSY,
                "GitHub says that it has a job",
            )
        self._wait_for(lambda: not self._has_worker(), "its job is still running")
        path.unlink(missing_ok=True)

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        effects = self.github.effects
        limit = effects.now() + self.waits.drain_seconds
        while not condition():
            if effects.now() >= limit:
                raise BusyError(
                    f"{self.instance.name}: {what}; it was waited for {self.waits.drain_seconds:g} s."
                    " The healer goes on once it has ended, or run this again"
                )
            effects.sleep(min(_DRAIN_POLL_SECONDS, self.waits.drain_seconds))

    def _has_worker(self) -> bool:
        return processes.has_worker(str(self.tree), self.places.proc)

    def _stop(self) -> None:
        # Whatever GitHub says of the registration: a stop would cancel the job.
        self._wait_for(lambda: not self._has_worker(), "its job is still running")
        self._systemctl("stop", self.unit)

    def _switch(self, version: str) -> None:
        """Build the tree beside the old one and change places."""
        fresh, old = (
            self.tree.with_name(f".{self.tree.name}.new"),
            self.tree.with_name(f".{self.tree.name}.old"),
        )
        for left_over in (fresh, old):
            shutil.rmtree(left_over, ignore_errors=True)
        self.places.instances.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Real directories, for the application takes the parent of its own as its root; their
        # files are links to root's and take no space.
        self._run(
            ["cp", "--archive", "--link", str(self.places.versions / version), str(fresh)], "cp"
        )
        # The application obeys these two; were they not root's, a job could leave its own behind.
        (fresh / ".env").write_text("LANG=C.UTF-8\n", encoding="ascii")
        (fresh / ".path").write_text(f"{native_unit.PATH}\n", encoding="ascii")
        (fresh / VERSION_MARK).write_text(f"{version}\n", encoding="ascii")
        account = pwd.getpwnam(self.user)
        os.chown(fresh, 0, account.pw_gid)
        fresh.chmod(0o1770)
        if self.tree.exists():
            self.tree.rename(old)
        fresh.rename(self.tree)
        shutil.rmtree(old, ignore_errors=True)
        prune_versions(self.places.instances, self.places.versions)

    def _register(self, wish: DesiredRunner) -> None:
        self._make_home()
        self._make_room(wish)
        for name in _RUNNER_FILES:
            (self.tree / name).unlink(missing_ok=True)
        self._configure(wish)
        identifier = self._local_id()
        if identifier is None:
            raise NativeError(f"{self.tree}/.runner does not say what the runner was registered as")
        registration = Registration(
            url=wish.url,
            name=wish.name,
            group=wish.group,
            default_labels=wish.default_labels,
            work_dir=wish.work_dir,
            id=identifier,
            registered_at=self.github.effects.now(),
        )
        native.write_registration(self.places.registration(self.instance.name), registration)

    def _make_home(self) -> None:
        home, account = self.places.home(self.instance.name), pwd.getpwnam(self.user)
        # The application lists every directory above its work folder.
        home.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        home.mkdir(mode=0o750, exist_ok=True)
        os.chown(home, account.pw_uid, account.pw_gid)

    def _make_room(self, wish: DesiredRunner) -> None:
        """Remove what a killed run left of this name at GitHub; never somebody else's runner."""
        if not self.github.can_ask:
            return
        api = self.github.api(self.instance.target)
        existing = api.named(wish.name)
        if existing is None:
            return
        if existing.online and not wish.replace and existing.id != self._local_id():
            raise NativeError(
                f"a runner {wish.name} of {self.instance.target} is online elsewhere; give this host another"
                f" gh_actions_runner_prefix, stop the other one, or set replace for {self.instance.name}"
            )
        if api.delete(existing.id) is Deletion.BUSY:
            raise BusyError(
                f"the runner {wish.name} of {self.instance.target} has a job; try again"
            )

    def _configure(self, wish: DesiredRunner) -> None:
        argv = [str(self.tree / "bin/Runner.Listener"), "configure", "--unattended"]
        argv += ["--disableupdate", "--url", wish.url, "--name", wish.name, "--work", wish.work_dir]
        argv += ["--labels", ",".join(self._labels())] if wish.labels else []
        argv += ["--no-default-labels"] if not wish.default_labels else []
        argv += ["--runnergroup", wish.group] if self.instance.is_organization else []
        argv += ["--replace"] if wish.replace else []
        command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"]
        command += ["--no-new-privs", "--inh-caps=-all", "--", *argv]
        home = str(self.places.home(self.instance.name))
        environment = {
            "HOME": home,
            # The one way that neither ps nor a file shows; minted right before it is used.
            "ACTIONS_RUNNER_INPUT_TOKEN": self.github.registration_token(self.instance.target),
        }
        if self.github.settings.ca_file:
            environment["SSL_CERT_FILE"] = self.github.settings.ca_file
        self._run(
            ["sh", "-c", 'umask 077 && exec "$@"', "sh", *command],
            f"registering {wish.name}",
            seconds=_CONFIGURE_SECONDS,
            cwd=str(self.tree),
            environment=environment,
        )

    def _label(self) -> None:
        registration = native.read_registration(self.places.registration(self.instance.name))
        if registration is not None:
            self.github.api(self.instance.target).set_labels(registration.id, self._labels())

    def _labels(self) -> list[str]:
        """Return the custom labels as the operator writes them."""
        wanted = self.instance.wanted_labels
        return sorted(label for label in self.instance.labels if label.lower() in wanted)

    def _write_unit(self) -> None:
        attributes = managed_files.Attributes("root", "root", 0o644)
        path = str(self.places.unit(self.instance.name))
        spec = managed_files.FileSpec(path, self.unit_text.encode(), attributes)
        managed_files.apply(managed_files.plan([], [spec], []), self.github.effects.run)

    def _start(self) -> None:
        # A unit that has given up does not start before that is forgotten.
        self.github.effects.run(["systemctl", "reset-failed", self.unit], timeout_seconds=30)
        self._systemctl("start", self.unit)

    def _await_online(self) -> None:
        registration = native.read_registration(self.places.registration(self.instance.name))
        if registration is None or not self.github.can_ask:
            return
        effects, api = self.github.effects, self.github.api(self.instance.target)
        limit = effects.now() + _ONLINE_SECONDS
        while effects.now() < limit:
            found = api.get(registration.id)
            if found is not None and found.online:
                return
            effects.sleep(_POLL_SECONDS)
        argv = ["journalctl", "--no-pager", "--lines=15", "--output=cat", f"--unit={self.unit}"]
        log = effects.run(argv, timeout_seconds=30).stdout.decode(errors="replace").strip()
        raise NativeError(
            f"{self.instance.name} runs but did not come online within {_ONLINE_SECONDS:g} s; its log ends with:\n{log}"
        )

    def _remove(self) -> None:
        if self.github.can_ask and not self.places.registration(self.instance.name).exists():
            self._remove_unrecorded()
        for path in self._remains():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if _has_user(self.user):
            self._run(["userdel", self.user], "userdel")
        prune_versions(self.places.instances, self.places.versions)

    def _remove_unrecorded(self) -> None:
        api = self.github.api(self.instance.target)
        existing = api.named(self.github.settings.runner_name(self.instance.name))
        if existing is not None and not existing.online:
            api.delete(existing.id)


def prune_versions(instances: Path, versions: Path) -> None:
    """Keep the versions in use, and the newest besides them for the way back."""
    used = {_read_text(tree / VERSION_MARK) or "" for tree in instances.glob("*")}
    try:
        unpacked = sorted(
            (path.name for path in versions.iterdir() if not path.name.startswith(".")),
            key=release.order,
            reverse=True,
        )
    except FileNotFoundError:
        return
    kept = [*sorted(used & set(unpacked)), *(v for v in unpacked if v not in used)]
    for version in kept[max(_VERSIONS_KEPT, len(used & set(unpacked))) :]:
        shutil.rmtree(versions / version, ignore_errors=True)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
