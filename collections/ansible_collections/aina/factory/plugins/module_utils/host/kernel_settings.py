"""Make kernel settings at least as strict as declared, and give them back as they were.

A setting that is as strict already is not touched: it is somebody's, or the kernel's own. One that
another file declares is somebody's choice and stays. What is changed is recorded with its
former value first; the file for the next boot holds just what the record holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Run
from . import managed_files

PROC_SYS = Path("/proc/sys")
# Of administrators. What a distribution ships lies elsewhere, or belongs to a package.
DIRECTORY, MAIN = Path("/etc/sysctl.d"), Path("/etc/sysctl.conf")
# A container's own; everything else is the machine's, which others run on too.
_NAMESPACED = ("net.",)
_SECONDS = 30.0
_ATTRIBUTES = managed_files.Attributes("root", "root", 0o644)


class KernelSettingsError(FactoryError):
    """A setting cannot be written, or the record is damaged; the message names it."""


@dataclass(frozen=True)
class KernelSetting:
    """One setting, a whole number; ``why`` is a sentence.

    ``highest`` says that the running value may be lower but not higher than ``value``; otherwise it
    may be higher, but not lower.
    """

    name: str
    value: int
    highest: bool
    why: str

    def is_met(self, current: int) -> bool:
        """Whether this value is as strict as the declared one."""
        return current <= self.value if self.highest else current >= self.value


@dataclass(frozen=True)
class KernelSituation:
    """What the host has: running values, former ones of what is ours, choices of others.

    ``current`` lacks what this kernel does not know. ``others`` maps a name to the line and the file of
    another's choice. ``contained`` says that only what is the container's own may be changed.
    """

    current: Mapping[str, int]
    former: Mapping[str, int]
    others: Mapping[str, str]
    contained: bool


@dataclass(frozen=True)
class KernelSettingsPlan:
    """What is written to the running kernel, what the record then holds, and what stays."""

    writes: Mapping[str, int]
    former: Mapping[str, int]
    kept: tuple[str, ...]

    def actions(self, current: Mapping[str, int]) -> list[str]:
        """Return one phrase per write."""
        return [f"{name}: {current[name]} -> {value}" for name, value in self.writes.items()]


def plan(settings: Sequence[KernelSetting], situation: KernelSituation) -> KernelSettingsPlan:
    """Return what leads to the declared settings; what is not declared any more is given back."""
    writes: dict[str, int] = {}
    former: dict[str, int] = {}
    kept = []
    for item in settings:
        name, current = item.name, situation.current.get(item.name)
        if current is None or (situation.contained and not name.startswith(_NAMESPACED)):
            continue
        if name in situation.others:
            kept += [] if item.is_met(current) else [f"{name}: {situation.others[name]}"]
            continue
        if name in situation.former or not item.is_met(current):
            former[name] = situation.former.get(name, current)
        if not item.is_met(current):
            writes[name] = item.value
    for name, value in situation.former.items():
        # Where an administrator has chosen meanwhile, his file decides.
        ends = name not in former and name not in situation.others
        if ends and situation.current.get(name, value) != value:
            writes[name] = value
    return KernelSettingsPlan(
        dict(sorted(writes.items())), dict(sorted(former.items())), tuple(sorted(kept))
    )


def content(settings: Sequence[KernelSetting], former: Iterable[str], header: str) -> str:
    """Return the file for the next boot; empty where nothing is ours."""
    names = set(former)
    lines = [
        f"# {item.why}\n{item.name} = {item.value}\n" for item in settings if item.name in names
    ]
    return header + "".join(lines) if lines else ""


def read_current(names: Iterable[str], root: Path = PROC_SYS) -> dict[str, int]:
    """Return the running values; a setting that this kernel does not have is left out."""
    found = {}
    for name in names:
        try:
            text = (root / name.replace(".", "/")).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.lstrip("-").isdigit():
            found[name] = int(text)
    return found


def read_others(own: Path, owned_by_package: Iterable[Path]) -> dict[str, str]:
    """Return which settings another's file declares, by name: the line, and where it stands."""
    packaged = set(owned_by_package)
    found = {}
    files = sorted(DIRECTORY.glob("*.conf")) if DIRECTORY.is_dir() else []
    for path in [*files, MAIN]:
        if path == own or path in packaged or not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, sign, value = line.strip().partition("=")
            if sign and not name.startswith(("#", ";")):
                spelt = name.strip().lstrip("-").replace("/", ".")
                found[spelt] = f"{value.strip()} by {path}"
    return found


def packaged(paths: Iterable[Path], run: Run) -> list[Path]:
    """Return those that belong to a package: defaults of the distribution, nobody's choice."""
    words = [str(path) for path in paths]
    if not words:
        return []
    done = run(["dpkg-query", "--search", *words], timeout_seconds=_SECONDS)
    lines = done.stdout.decode(errors="replace").splitlines()
    return [Path(path) for name, _colon, path in (line.partition(": ") for line in lines) if name]


def contained(run: Run) -> bool:
    """Whether the host is a container, whose kernel belongs to the machine around it."""
    try:
        return run(["systemd-detect-virt", "--container", "--quiet"], timeout_seconds=_SECONDS).ok
    except OSError:
        return False


def read_former(path: str) -> dict[str, int]:
    """Return the values that were there before what is ours.

    Raises:
        KernelSettingsError: the record is damaged.

    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))["former"]
        return {str(name): int(value) for name, value in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KernelSettingsError(f"{path} is damaged ({error!r}); remove it") from error


def record(path: str, former: Mapping[str, int]) -> list[managed_files.Change]:
    """Return the change of the record."""
    if not former:
        return managed_files.plan((), (), [path])
    text = json.dumps({"schema": 1, "former": dict(former)}, indent=2) + "\n"
    return _file(path, text)


def drop_in(path: str, text: str) -> list[managed_files.Change]:
    """Return the change of the file for the next boot."""
    return _file(path, text) if text else managed_files.plan((), (), [path])


def _file(path: str, text: str) -> list[managed_files.Change]:
    file = managed_files.FileSpec(path, text.encode(), _ATTRIBUTES)
    return managed_files.plan((), [file], ())


def apply(writes: Mapping[str, int], declared: Iterable[str], root: Path = PROC_SYS) -> list[str]:
    """Write to the running kernel; return what only the next boot can bring about.

    That is where /proc/sys is read-only, and a former value that the kernel does not take back.

    Raises:
        KernelSettingsError: a declared value is refused.

    """
    refused, names = [], set(declared)
    for name, value in writes.items():
        path = root / name.replace(".", "/")
        if not os.access(path, os.W_OK):
            refused.append(name)
            continue
        try:
            path.write_text(f"{value}\n", encoding="ascii")
        except OSError as error:
            if name not in names:
                refused.append(name)
                continue
            raise KernelSettingsError(
                f"{name} could not be set to {value}: {error.strerror}; name it in "
                "hardening_kernel_excluded to leave it as it is"
            ) from error
    return refused
