"""Install distribution packages, also where an earlier installation was cut off.

A run that is killed inside dpkg leaves a state in which apt refuses everything, for
ever. It is read first and repaired only when dpkg or apt says that it is there.

Nothing goes that nobody declared: apt is asked beforehand what an installation or a removal
would take away besides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Completed, Run

QUERY_SECONDS = 60.0
APPLY_SECONDS = 1800.0
LOCK_PATH = Path("/var/lib/dpkg/lock-frontend")
_JOURNAL_DIR = Path("/var/lib/dpkg/updates")
_LISTS_DIR = Path("/var/lib/apt/lists")
_ENVIRONMENT = {
    "LC_ALL": "C",
    "DEBIAN_FRONTEND": "noninteractive",
    # Ubuntu restarts services from an apt hook unless told to list them only.
    "NEEDRESTART_MODE": "l",
}
# The administrator's version of a configuration file stays.
_KEEP_CONFIGURATION = ("--force-confdef", "--force-confold")
# Also in a repair: what was not asked for is not brought along, and takes nothing away.
_INSTALL = ("install", "--no-install-recommends")
_NO_REMOVAL = "--no-remove"


class PackagesError(FactoryError):
    """apt or dpkg failed; the message quotes it and says what to do."""


class RemovalError(PackagesError):
    """An installation would take packages away that nobody declared; nothing was installed."""


@dataclass(frozen=True)
class PackagesSpec:
    """Which packages are there afterwards.

    A name in ``present`` may be followed by alternatives, as in ``chrony | ntpsec``: the first
    is installed unless one of the others is there already. ``optional`` are installed where
    the configured repositories have them. When one of ``unless_installed`` is there, nothing
    is installed: it does the same job and belongs to somebody else; a path there means a program
    that no package owns. With ``own_only`` those
    of ``absent`` go that an earlier run has installed, as its record says.
    """

    present: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unless_installed: tuple[str, ...] = ()
    own_only: bool = False


@dataclass(frozen=True)
class ObservedPackages:
    """What dpkg and apt say.

    ``candidates`` covers the optional packages that are missing; it is ``None`` as long as
    apt has no lists to look into. ``own`` are packages that earlier runs have installed.
    """

    installed: Mapping[str, str]
    interrupted: str
    candidates: Collection[str] | None
    own: Collection[str] = ()


@dataclass(frozen=True)
class PackagesPlan:
    """What is to be done; ``interrupted`` quotes dpkg when a repair comes first.

    ``perhaps`` are optional packages of which nobody knows yet whether they can be had. ``kept``
    were to go and stay, for nothing records that an earlier run has installed them. So do those
    of ``needed``, each with what would go with it.
    """

    interrupted: str
    install: tuple[str, ...]
    perhaps: tuple[str, ...]
    remove: tuple[str, ...]
    adopted: str
    kept: tuple[str, ...] = ()
    needed: Mapping[str, Collection[str]] = field(default_factory=dict)

    @property
    def actions(self) -> list[str]:
        """Return one phrase per step."""
        repair = ["finish the interrupted installation"] if self.interrupted else []
        return [
            *repair,
            *(f"install {name}" for name in self.install),
            *(f"install {name}, where it can be had" for name in self.perhaps),
            *(f"remove {name}" for name in self.remove),
        ]


def alternatives(entry: str) -> list[str]:
    """Return the names of ``chrony | ntpsec``, the preferred one first."""
    return [name.strip() for name in entry.split("|")]


def read(
    spec: PackagesSpec, run: Run, lists_exist: bool, own: Collection[str] = ()
) -> ObservedPackages:
    """Ask dpkg for the packages and for traces of an interruption.

    Raises:
        PackagesError: dpkg itself does not work.

    """
    names = {name for entry in spec.present for name in alternatives(entry)}
    programs = [name for name in spec.unless_installed if name.startswith("/")]
    names |= {*spec.optional, *spec.absent, *spec.unless_installed} - {*programs}
    installed = _installed(sorted(names), run) if names else {}
    if not all({*alternatives(entry)} & {*installed} for entry in spec.present):
        installed |= {path: "(no package owns it)" for path in programs if _is_unowned(path, run)}
    missing = [name for name in spec.optional if name not in installed]
    candidates = _candidates(missing, run) if lists_exist else None
    return ObservedPackages(installed, interruption(run), candidates, own)


def _installed(names: Sequence[str], run: Run) -> dict[str, str]:
    form = "${Package}\t${db:Status-Status}\t${Version}\n"
    done = _query(["dpkg-query", "--show", f"--showformat={form}", "--", *names], run)
    # 1 means that some names are unknown to dpkg, which is what is being asked.
    if done.returncode not in {0, 1}:
        raise PackagesError(f"dpkg-query: {done.said}")
    rows = [line.split("\t") for line in done.stdout.decode(errors="replace").splitlines()]
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "installed"}


def _is_unowned(path: str, run: Run) -> bool:
    """Whether this is a program that dpkg would overwrite without a word."""
    return os.path.lexists(path) and not _query(["dpkg-query", "--search", "--", path], run).ok


def interruption(run: Run) -> str:
    """Return what dpkg says of packages that are neither installed nor absent, or ``""``."""
    done = _query(["dpkg", "--audit"], run)
    report = done.stdout.decode(errors="replace").strip()
    if not report and not done.ok:
        raise PackagesError(f"dpkg --audit: {done.said}")
    if report or not _JOURNAL_DIR.is_dir():
        return report
    # apt refuses to work while this journal of dpkg has entries.
    pending = [entry.name for entry in _JOURNAL_DIR.iterdir() if entry.name.isdigit()]
    return "dpkg's journal holds unmerged entries" if pending else ""


def _candidates(names: Sequence[str], run: Run) -> set[str]:
    if not names:
        return set()
    done = _query(["apt-cache", "policy", *names], run)
    blocks = re.split(r"^(?=\S)", done.stdout.decode(errors="replace"), flags=re.MULTILINE)
    return {
        block.split(":", 1)[0]
        for block in blocks
        if re.search(r"^  Candidate: (?!\(none\))", block, flags=re.MULTILINE)
    }


def plan(spec: PackagesSpec, situation: ObservedPackages) -> PackagesPlan:
    """Return the steps that lead to the declared packages."""
    adopted = next((name for name in spec.unless_installed if name in situation.installed), "")
    wanted_ones = map(alternatives, spec.present)
    missing = [names[0] for names in wanted_ones if not set(names) & set(situation.installed)]
    unknown = situation.candidates is None and bool(missing)
    wanted = [name for name in spec.optional if name not in situation.installed]
    if situation.candidates is not None:
        missing += [name for name in wanted if name in situation.candidates]
    unwanted = tuple(name for name in spec.absent if name in situation.installed)
    kept = tuple(name for name in unwanted if spec.own_only and name not in situation.own)
    return PackagesPlan(
        interrupted=situation.interrupted,
        install=() if adopted else tuple(missing),
        perhaps=tuple(wanted) if unknown and not adopted else (),
        remove=tuple(name for name in unwanted if name not in kept),
        adopted=f"{adopted} {situation.installed[adopted]}" if adopted else "",
        kept=kept,
    )


def foresee(plan_: PackagesPlan, run: Run) -> PackagesPlan:
    """Ask apt what the plan would take away besides; return it without removals that do.

    Raises:
        RemovalError: an installation would.
        PackagesError: apt cannot say, such as without package lists.

    """
    removed = set(plan_.remove)
    names = [*plan_.install, *plan_.perhaps]
    gone = _removals([*_INSTALL, "--", *names], run) - removed if names else set()
    if gone:
        causes = [name for name in names if _removals([*_INSTALL, "--", name], run) & gone]
        which, what = ", ".join(causes or names), " ".join(sorted(gone))
        raise RemovalError(
            f"to install {which}, apt would remove {what}, which nobody declared; nothing was installed. If that may "
            f"go, remove it yourself ('apt-get remove {what}') and run again; otherwise switch the part off that "
            f"needs {which}"
        )
    if not removed or not _removals(["remove", "--", *plan_.remove], run) - removed:
        return plan_
    alone = {name: _removals(["remove", "--", name], run) - removed for name in plan_.remove}
    needed = {name: sorted(others) for name, others in alone.items() if others}
    left = tuple(name for name in plan_.remove if name not in needed)
    # What needs either of two goes with both of them alone.
    together = _removals(["remove", "--", *left], run) - removed if left else set()
    if together:
        needed, left = {**needed, **{name: sorted(together) for name in left}}, ()
    return replace(plan_, remove=left, needed=needed)


def _removals(words: Sequence[str], run: Run) -> set[str]:
    """Return the packages that apt would take away; a new version of one is none."""
    # Apt would write down what it has read, and a look changes nothing.
    caches = [f"--option=Dir::Cache::{name}=" for name in ("pkgcache", "srcpkgcache")]
    argv = ["apt-get", "--simulate", "--yes", "--quiet", *caches, *words]
    done = run(argv, environment=_ENVIRONMENT, timeout_seconds=QUERY_SECONDS)
    if not done.ok:
        raise PackagesError(f"apt-get --simulate {' '.join(words)}: {done.said}")
    rows = [line.split() for line in done.stdout.decode(errors="replace").splitlines()]
    installed = {row[1] for row in rows if row[:1] == ["Inst"] and len(row) > 1}
    return {row[1] for row in rows if row[:1] == ["Remv"] and len(row) > 1} - installed


def apply(
    plan_: PackagesPlan,
    run: Run,
    frontend_lock: AbstractContextManager[object],
    lock_wait_seconds: int,
    lists_are_stale: bool,
) -> PackagesPlan:
    """Carry the plan out and return it as it turned out.

    ``frontend_lock`` holds dpkg's front-end lock (:data:`LOCK_PATH`) while entered.

    Raises:
        RemovalError: an installation would take something else away.
        PackagesError: a step failed.
        TimeoutError: another package manager held the lock for too long.

    """
    if plan_.interrupted:
        _repair(run, frontend_lock, lock_wait_seconds)
    names = list(plan_.install)
    if names:
        if lists_are_stale or set(names) - _candidates(names, run):
            _apt(["update"], run, lock_wait_seconds)
        available = _candidates(plan_.perhaps, run)
        names += [name for name in plan_.perhaps if name in available]
    plan_ = foresee(replace(plan_, install=tuple(names), perhaps=()), run)
    if plan_.install:
        # What is declared to go may give way; between two questions nothing else does.
        guard = () if plan_.remove else (_NO_REMOVAL,)
        _apt([*_INSTALL, *guard, "--", *plan_.install], run, lock_wait_seconds)
    if plan_.remove:
        # Never purge: a package's purge may delete the data that it managed.
        _apt(["remove", "--", *plan_.remove], run, lock_wait_seconds)
    return plan_


def every(run: Run) -> set[str]:
    """Return the names of all installed packages."""
    return {*_installed([], run)}


def let_go(brought: Collection[str], run: Run, lock_wait_seconds: int) -> set[str]:
    """Remove those of ``brought`` that nothing needs any more; return which stay.

    ``brought`` came along with what earlier runs have installed.

    Raises:
        PackagesError: apt failed.

    """
    gone = sorted(_removals(["autoremove"], run) & {*brought})
    # Between two questions nothing else may go with them.
    if gone and not _removals(["remove", "--", *gone], run) - {*gone}:
        _apt(["remove", "--", *gone], run, lock_wait_seconds)
    return {*brought} & every(run)


def _repair(run: Run, frontend_lock: AbstractContextManager[object], wait_seconds: int) -> None:
    with frontend_lock:
        # With the lock held, what looked interrupted may have been another run at work.
        if not interruption(run):
            return
        run(
            ["dpkg", *_KEEP_CONFIGURATION, "--configure", "--pending"],
            environment={**_ENVIRONMENT, "DPKG_FRONTEND_LOCKED": "1"},
            timeout_seconds=APPLY_SECONDS,
        )
    said = []
    if interruption(run):
        # Cut off while unpacking: only apt can fetch the archive again.
        broken = _reinstallation_required(run)
        steps = [[*_INSTALL, _NO_REMOVAL, "--fix-broken"]]
        if broken:
            again = [*_INSTALL, _NO_REMOVAL, "--reinstall", "--", *broken]
            steps = [["update"], again, *steps]
        for words in steps:
            try:
                _apt(words, run, wait_seconds)
            except PackagesError as error:
                # Apt does not name the package; what dpkg says below does.
                said.append(str(error))
    left = interruption(run)
    if left:
        # They stand at the margin of what dpkg says, one a line.
        names = " ".join(re.findall(r"^ (\S+)", left, re.MULTILINE)) or "what dpkg --audit names"
        raise PackagesError(
            f"{names}: could be finished neither by 'dpkg --configure --pending' nor by 'apt-get install "
            f"--fix-broken'; repair it, or remove it ('apt-get remove {names}'), then run again:\n"
            + "\n".join([left, *said])
        )


def _reinstallation_required(run: Run) -> list[str]:
    form = "${Package}\t${db:Status-Eflag}\t${db:Status-Status}\n"
    done = _query(["dpkg-query", "--show", f"--showformat={form}"], run)
    rows = [line.split("\t") for line in done.stdout.decode(errors="replace").splitlines()]
    return sorted(
        {row[0] for row in rows if row[1:2] == ["reinstreq"] or row[2:3] == ["half-installed"]}
    )


def _apt(words: Sequence[str], run: Run, lock_wait_seconds: int) -> None:
    argv = ["apt-get", "--yes", "--quiet", f"--option=DPkg::Lock::Timeout={lock_wait_seconds}"]
    argv += [f"--option=Dpkg::Options::={option}" for option in _KEEP_CONFIGURATION]
    done = run([*argv, *words], environment=_ENVIRONMENT, timeout_seconds=APPLY_SECONDS)
    if not done.ok:
        raise PackagesError(f"apt-get {' '.join(words)}: {done.said}")


def lists_age_seconds(now: float, lists_dir: Path = _LISTS_DIR) -> float | None:
    """Return the age of the newest package list; ``None`` when there is none."""
    times = [path.stat().st_mtime for path in lists_dir.glob("*_*") if path.is_file()]
    return now - max(times) if times else None


def _query(argv: Sequence[str], run: Run) -> Completed:
    return run(argv, environment={"LC_ALL": "C"}, timeout_seconds=QUERY_SECONDS)
