"""Back this server up by restic, and prove each time that it can be read back.

A repository is made only where none was ever seen: one that has vanished is an unmounted
disk or a wrong address, and a new one in its place would be a backup to nowhere. A source
that is empty, or has lost most of what it held, is no good backup either.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base.errors import FactoryError
from ..base.ports import Completed, Now, Run
from . import sources as backup_sources
from .settings import USER_PART, BackupSettings

TAG = "aina-factory"
CACHE_DIR = "/var/cache/aina-factory/restic"
_ASK_SECONDS = 600.0
_WORK_SECONDS = 6 * 3600.0
_NO_REPOSITORY = 10  # since restic 0.17; earlier ones say 1 for everything
_INCOMPLETE = 3


class BackupError(FactoryError):
    """restic refused or something is not as it must be; says what to do."""


@dataclass(frozen=True)
class BackupPaths:
    """Where this server keeps the backup's own state."""

    canary: Path = Path("/var/lib/aina-factory/backup/canary")
    report: Path = Path("/var/lib/aina-factory/backup/report.json")


@dataclass
class BackupReport:
    """How a run went; ``state`` is ok, incomplete or failed.

    ``saved`` and ``saved_detail`` are those of the last run that made a snapshot, or tried
    to. ``sources`` are the files and bytes of each path, ``samples`` the sizes of files that
    were read back beside the canary.
    """

    state: str = "failed"
    detail: str = ""
    saved: str = ""
    saved_detail: str = ""
    sources: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    samples: Mapping[str, int] = field(default_factory=dict)
    repository_id: str = ""
    snapshot_id: str = ""
    files: int = 0
    bytes: int = 0
    added_bytes: int = 0
    canary: str = ""
    restore_test: str = "not run"
    check: str = "not run"
    notes: list[str] = field(default_factory=list)


def environment(settings: BackupSettings, credential_path: Mapping[str, Path]) -> dict[str, str]:
    """Return what restic is told by its environment, so that no argument list shows it.

    Raises:
        BackupError: a credential cannot be read.

    """
    found = {
        "RESTIC_REPOSITORY": settings.repository,
        "RESTIC_PASSWORD_FILE": str(credential_path[settings.password_credential]),
        "RESTIC_CACHE_DIR": CACHE_DIR,
    }
    for variable, name in settings.environment_credentials.items():
        try:
            found[variable] = credential_path[name].read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise BackupError(f"credential {name}: {error.strerror}") from error
    return found


class BackupRepository:
    """restic, with one repository."""

    def __init__(self, run: Run, variables: Mapping[str, str]) -> None:
        """Keep what every call needs."""
        self._run = run
        self._variables = dict(variables)

    def ask(self, *words: str, seconds: float = _ASK_SECONDS) -> Completed:
        """Run restic to its end, whatever that is."""
        argv = ["restic", "--quiet" if words[0] in {"unlock", "forget"} else "--json", *words]
        return self._run(argv, environment=self._variables, timeout_seconds=seconds)

    def demand(self, *words: str, seconds: float = _ASK_SECONDS) -> Completed:
        """Run restic; anything but success is an error that quotes it."""
        done = self.ask(*words, seconds=seconds)
        if not done.ok:
            raise BackupError(f"restic {words[0]}: {said(done)}")
        return done

    def identity(self, known: str) -> str:
        """Return the repository's identity; make it where there was never one.

        Raises:
            BackupError: it cannot be read, or it is not the one that earlier runs wrote to.

        """
        done = self.ask("cat", "config")
        if done.ok:
            found = str(json.loads(done.stdout)["id"])
            if known and found != known:
                raise BackupError(
                    f"the repository has the identity {found[:8]}, earlier runs wrote to {known[:8]}: "
                    "another disk or address? If this is meant, remove report.json beside the canary"
                )
            return found
        # Earlier releases say it only in words, and the same ones for other failures: "init"
        # itself refuses where there is something.
        absent = done.returncode == _NO_REPOSITORY or b"Is there a repository" in done.stderr
        if not absent or known:
            gone = "; earlier runs wrote to one here, so none is made anew" if known else ""
            raise BackupError(f"the repository cannot be read: {said(done)}{gone}")
        self.demand("init")
        return str(json.loads(self.demand("cat", "config").stdout)["id"])


def back_up(
    settings: BackupSettings,
    repository: BackupRepository,
    places: BackupPaths,
    run: Run,
    now: Now,
    last: BackupReport,
) -> BackupReport:
    """Make one snapshot, let old ones go, and read files of the new one back."""
    report = BackupReport(repository_id=last.repository_id, check=last.check)
    for argv in settings.commands:
        done = run(argv, timeout_seconds=_WORK_SECONDS)
        if not done.ok:
            report.notes.append(f"{argv[0]} ended with {done.returncode}: {said(done)}")
    # Locks of runs that are dead; those of living ones stay.
    repository.ask("unlock")
    report.repository_id = repository.identity(last.repository_id)
    places.canary.parent.mkdir(parents=True, exist_ok=True)
    canary = f"{now():.6f}\n".encode()
    places.canary.write_bytes(canary)
    missing = [path for path in settings.paths if not Path(path).exists()]
    report.notes += [f"{path} does not exist" for path in missing]
    words = ["backup", f"--tag={TAG}"]
    words += [f"--exclude={pattern}" for pattern in settings.excludes]
    paths = [path for path in settings.paths if path not in missing]
    sources = [backup_sources.survey(path, settings.excludes, now()) for path in paths]
    # What is gone is compared with what it held when it was there.
    counted = {item.path: {"files": item.files, "bytes": item.bytes} for item in sources}
    filled = {path: counts for path, counts in counted.items() if counts["files"]}
    known = {path: last.sources[path] for path in settings.paths if path in last.sources}
    report.sources = {**known, **filled}
    for source in sources:
        lost = backup_sources.lost(source, last.sources.get(source.path, {}))
        report.notes += [lost] if lost else []
    done = repository.ask(*words, "--", *paths, str(places.canary), seconds=_WORK_SECONDS)
    if done.returncode not in (0, _INCOMPLETE):
        raise BackupError(f"restic backup: {said(done)}")
    if not done.ok:
        report.notes.append(f"some files could not be read: {said(done)}")
    _read_summary(done, report)
    kept = [f"--keep-{name}={count}" for name, count in vars(settings.keep).items() if count]
    words = ["forget", f"--tag={TAG}", "--group-by=host", *kept, "--prune"]
    repository.demand(*words, seconds=_WORK_SECONDS)
    report.canary = canary.decode()
    samples = [sample for source in sources for sample in source.samples]
    report.samples = {sample.path: sample.size_bytes for sample in samples}
    with tempfile.TemporaryDirectory(prefix="backup-proof-") as directory:
        _prove(repository, report, places.canary, Path(directory))
        for source in sources:
            report.notes += _read_back(source, report, Path(directory))
    report.state = report.saved = "incomplete" if report.notes else "ok"
    report.detail = report.saved_detail = "; ".join(report.notes)
    return report


def _read_back(
    source: backup_sources.BackupSource, report: BackupReport, directory: Path
) -> list[str]:
    """Compare the restored samples of a source with what is there; return what is wrong.

    What changed meanwhile proves nothing; what restic left out by its excludes need not come
    back, but one of the samples must.
    """
    still = [sample for sample in source.samples if backup_sources.is_unchanged(sample)]
    back = [item for item in still if backup_sources.is_file(_restored(directory, item.path))]
    for sample in back:
        if not backup_sources.are_equal(sample, _restored(directory, sample.path)):
            raise BackupError(
                f"snapshot {report.snapshot_id[:8]} does not give {sample.path} back as it is; "
                "the repository is not to be trusted"
            )
    gone = {sample.path for sample in source.samples} - {sample.path for sample in back}
    report.samples = {path: count for path, count in report.samples.items() if path not in gone}
    if still and not back:
        return [f"{still[0].path} is not in the snapshot"]
    return []


def _restored(directory: Path, path: str) -> Path:
    return Path(directory, *Path(path).parts[1:])


def _read_summary(done: Completed, report: BackupReport) -> None:
    for line in reversed(done.stdout.decode(errors="replace").splitlines()):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict) and document.get("message_type") == "summary":
            report.snapshot_id = str(document["snapshot_id"])
            report.files = int(document["total_files_processed"])
            report.bytes = int(document["total_bytes_processed"])
            report.added_bytes = int(document["data_added"])
            return
    raise BackupError("restic backup ended without a summary; nothing is known of the snapshot")


def _prove(
    repository: BackupRepository, report: BackupReport, canary: Path, directory: Path
) -> None:
    """Read the canary and the samples back: what cannot be restored was not backed up."""
    words = ["restore", report.snapshot_id, f"--target={directory}", f"--include={canary}"]
    repository.demand(*words, *(f"--include={path}" for path in report.samples))
    restored = _restored(directory, str(canary))
    if not restored.is_file() or restored.read_text(encoding="utf-8") != report.canary:
        raise BackupError(
            f"snapshot {report.snapshot_id[:8]} does not give {canary} back as it was; the "
            "repository is not to be trusted"
        )
    report.restore_test = "ok"


def verify(
    settings: BackupSettings, repository: BackupRepository, places: BackupPaths, last: BackupReport
) -> BackupReport:
    """Check the repository with a part of its data, and read files of it back.

    A sound repository makes no good backup of one that was incomplete or failed.
    """
    if not last.snapshot_id:
        raise BackupError("there is no snapshot yet that could be verified; run 'factory backup'")
    report = failed(last, "", verifying=True)
    report.repository_id = repository.identity(last.repository_id)
    done = repository.ask(
        "check", f"--read-data-subset={settings.check_subset_percent}%", seconds=_WORK_SECONDS
    )
    if not done.ok:
        raise BackupError(f"restic check found damage: {said(done)}")
    with tempfile.TemporaryDirectory(prefix="backup-proof-") as directory:
        _prove(repository, report, places.canary, Path(directory))
        for path, count in report.samples.items():
            if not backup_sources.is_file(_restored(Path(directory), path), count):
                raise BackupError(
                    f"snapshot {report.snapshot_id[:8]} does not give {path} back any more; the "
                    "repository is not to be trusted"
                )
    report.check = "ok"
    report.state = last.saved or last.state
    if report.state != "ok":
        why = f": {last.saved_detail}" if last.saved_detail else ""
        report.detail = f"the repository is sound, but the last backup was {report.state}{why}"
    return report


def failed(last: BackupReport, detail: str, *, verifying: bool = False) -> BackupReport:
    """Return the report of a run that failed; what is known of the last snapshot stays."""
    own = {} if verifying else {"saved": "failed", "saved_detail": detail}
    values = {**vars(last), "state": "failed", "detail": detail, "notes": [], "check": "not run"}
    return BackupReport(**{**values, **own})


def said(done: Completed) -> str:
    """Return the end of what a program said, without anybody's password."""
    return USER_PART.sub("", done.said)


def to_document(report: BackupReport, last: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Return what is kept of a run; the time of the last good snapshot survives bad ones."""
    values = {name: value for name, value in vars(report).items() if name != "notes"}
    is_new = report.snapshot_id != last.get("snapshot_id")
    good = at if report.state == "ok" and is_new else last.get("last_success_at")
    return {"schema": 1, **values, "updated_at": at, "last_success_at": good}


def from_document(document: Mapping[str, Any]) -> BackupReport:
    """Return the report of an earlier run; an empty one when there was none."""
    known = vars(BackupReport())
    report = BackupReport(**{name: document[name] for name in known if name in document})
    if report.snapshot_id and not report.saved:
        # Written before these two were kept apart.
        report.saved, report.saved_detail = report.state, report.detail
    return report
