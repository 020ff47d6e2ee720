from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import units
from factory.core.host.steps import Context, StepError
from factory.core.host.steps import units as step
from factory.core.host.units import Credential, Running, UnitSpec, UnitStatus

RUNNING = UnitStatus(True, True, True, False, 1000.0)
STOPPED = UnitStatus(True, False, True, False, None)
DISABLED = UnitStatus(True, True, False, False, 1000.0)
MISSING = UnitStatus(False, False, False, False, None)
STALE = UnitStatus(True, True, True, True, 1000.0)
DECLINED = UnitStatus(True, False, True, False, None, 1000.0)

CONF = "/etc/example.conf"
STARTED = UnitSpec("x.service", True, Running.STARTED, (CONF,))


def never(path: str) -> float | None:
    return None


# declared, actual, paths written by this run, change time of CONF, expected verbs
CASES = [
    (STARTED, RUNNING, [], None, []),
    (STARTED, RUNNING, [], 999.0, []),
    (STARTED, RUNNING, [], 1000.5, ["restart"]),
    (STARTED, RUNNING, [CONF], None, ["restart"]),
    (STARTED, RUNNING, ["/etc/other"], None, []),
    (STARTED, STOPPED, [CONF], 5000.0, ["start"]),
    (STARTED, DISABLED, [], None, ["enable"]),
    (STARTED, MISSING, [], None, ["enable", "start"]),
    (STARTED, STALE, [], None, ["daemon-reload"]),
    (UnitSpec("x.service", False, Running.STOPPED), RUNNING, [], None, ["disable", "stop"]),
    (UnitSpec("x.service", False, Running.STOPPED), MISSING, [], None, []),
    (UnitSpec("x.service", None, None, (CONF,)), RUNNING, [CONF], 5000.0, ["restart"]),
    (UnitSpec("x.service", None, None, (CONF,)), STOPPED, [CONF], 5000.0, []),
    (UnitSpec("x.service", None, None), RUNNING, [CONF], 5000.0, []),
    (STARTED, DECLINED, [], 999.0, []),
    (STARTED, DECLINED, [], 1000.5, ["start"]),
    (UnitSpec("x.service", True, Running.STARTED, (CONF,), True), MISSING, [CONF], None, []),
    (UnitSpec("x.service", True, Running.STARTED, (CONF,), True), STOPPED, [], None, ["start"]),
]


@pytest.mark.parametrize(("spec", "status", "written", "changed", "verbs"), CASES)
def test_the_plan_is_what_separates_declared_from_actual(
    spec: UnitSpec, status: UnitStatus, written: list[str], changed: float | None, verbs: list[str]
) -> None:
    actions = units.plan([spec], {"x.service": status}, written, lambda path: changed)

    assert [action.verb for action in actions] == verbs


def test_all_units_are_read_by_one_call_and_start_times_become_wall_clock() -> None:
    calls: list[Sequence[Any]] = []

    def run(argv: Sequence[str | bytes], **_: Any) -> Completed:
        calls.append(argv)
        return Completed(
            0,
            b"Id=a.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
            b"NeedDaemonReload=no\nInactiveExitTimestampMonotonic=2500000\n\n"
            b"Id=b.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
            b"NeedDaemonReload=no\nInactiveExitTimestampMonotonic=0\n",
            b"",
        )

    statuses = units.read(["a.service", "b.service"], run, boot_time=100.0)

    assert len(calls) == 1
    assert statuses["a.service"] == UnitStatus(True, True, True, False, 102.5)
    assert statuses["b.service"] == MISSING


def test_an_answer_that_misses_a_unit_is_an_error_and_not_a_stopped_unit() -> None:
    def run(argv: Sequence[str | bytes], **_: Any) -> Completed:
        return Completed(0, b"Id=a.service\nLoadState=loaded\n", b"")

    with pytest.raises(units.UnitsError, match="described 1 units instead of 2"):
        units.read(["a.service", "b.service"], run, boot_time=0.0)


def test_a_failed_start_quotes_systemd_and_the_log() -> None:
    def run(argv: Sequence[str | bytes], **_: Any) -> Completed:
        if argv[0] == "journalctl":
            return Completed(0, b"address already in use\n", b"")
        return Completed(1, b"", b"Job for x.service failed\n")

    with pytest.raises(units.UnitsError) as caught:
        units.apply([units.Action("start", "x.service", "it was not running")], run)

    assert "Job for x.service failed" in str(caught.value)
    assert "address already in use" in str(caught.value)


def test_a_file_moved_into_place_with_an_old_date_counts_as_changed(tmp_path: Any) -> None:
    import os

    path = tmp_path / "conf"
    path.write_text("x")
    os.utime(path, (1, 1))

    changed = units.changed_at(str(path))

    assert changed is not None
    assert changed > 1_000_000_000


GATEWAY = "factory-lane-gateway.service"
JOB = "factory-job-backup.service"


class Server:
    """A gateway that is kept running and a job that will end, each with secrets; counts restarts."""

    def __init__(self, root: Path, **files: str) -> None:
        self.held, self.store = root / "credentials", root / "secrets"
        self.store.mkdir()
        for name, content in files.items():
            (self.store / name).write_text(content)
        self.calls: list[list[str]] = []
        self.refuses: set[str] = set()

    def runs(self, unit: str, **credentials: str) -> None:
        (self.held / unit).mkdir(parents=True)
        for name, content in credentials.items():
            (self.held / unit / name).write_text(content)

    def __call__(self, argv: Sequence[str | bytes], **_: Any) -> Completed:
        words = [str(word) for word in argv]
        self.calls.append(words[1:])
        text = ""
        if words[1] == "cat":
            text = f"# /etc/systemd/system/{words[-1]}\n[Service]\nLoadCredential=codex:{self.store}/codex\n"
        if words[1] == "show":
            keeps = {GATEWAY: "always", JOB: "no"}
            text = "\n\n".join(
                f"Id={name}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nRestart={keeps[name]}\n"
                "InactiveExitTimestampMonotonic=1"
                for name in words[words.index("--") + 1 :]
            )
        refused = words[-1] in self.refuses and words[1] in {"start", "restart"}
        return Completed(int(refused), text.encode(), b"no")

    def converge(
        self, *items: dict[str, Any], check_mode: bool = False, changed: Sequence[str] = ()
    ) -> tuple[list[str], list[str], list[str]]:
        """Return actions, what waits, and warnings."""
        defaults = {
            "enabled": True,
            "state": "started",
            "restarted_by": [],
            "optional": False,
            "needs": [],
        }
        parameters = {
            "units": [{**defaults, **item} for item in items],
            "changed_paths": changed,
            "user": None,
            "credentials_of": ["factory-*.service"],
        }
        warnings: list[str] = []
        result = step.execute(parameters, Context(self, check_mode, warnings.append))
        waits = [f"{item['what']} waits for {item['for']}" for item in result["waiting"]]
        return result["actions"], waits, warnings


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(tmp_path, codex="new\n")
    monkeypatch.setattr(units, "CREDENTIALS_DIR", made.held)
    return made


@pytest.mark.parametrize(("held", "restarts"), [("S3CRET\n", 1), ("new\n", 0)])
def test_a_service_that_runs_with_another_secret_is_restarted(
    server: Server, held: str, restarts: int
) -> None:
    server.runs(GATEWAY, codex=held)

    actions, waits, _left = server.converge()

    why = f"it runs with another codex than {server.store}/codex holds"
    assert (actions, waits) == ([f"restart {GATEWAY} ({why})"] * restarts, [])
    assert server.calls.count(["restart", "--", GATEWAY]) == restarts
    assert "S3CRET" not in str(actions)


def test_check_mode_foretells_the_restart_of_a_secret_to_come(server: Server) -> None:
    server.runs(GATEWAY, codex="new\n")

    actions, _waits, _left = server.converge(check_mode=True, changed=[f"{server.store}/codex"])

    assert len(actions) == 1
    assert not any(call[0] == "restart" for call in server.calls)


def test_a_job_ends_with_the_secret_that_it_began_with_and_that_is_said(server: Server) -> None:
    server.runs(JOB, codex="S3CRET\n")

    actions, waits, warnings = server.converge()

    assert actions == []
    assert waits == [f"the newer codex of {server.store}/codex waits for the end of {JOB}"]
    assert len(warnings) == 1


def test_what_others_run_is_not_looked_at(server: Server) -> None:
    server.runs("nginx.service", codex="S3CRET\n")

    assert server.converge() == ([], [], [])
    assert server.calls == []


def test_a_secret_that_is_gone_is_no_reason_for_a_restart(server: Server) -> None:
    server.runs(GATEWAY, codex="S3CRET\n")
    (server.store / "codex").unlink()

    assert server.converge() == ([], [], [])


def test_a_unit_waits_for_what_it_needs_and_fails_nothing(server: Server) -> None:
    key = f"{server.store}/claude"
    unit = {"name": GATEWAY, "needs": [key], "restarted_by": [CONF]}

    actions, waits, warnings = server.converge(unit, changed=[CONF])

    assert (actions, waits) == ([], [f"{GATEWAY} waits for {key}"])
    assert "converge again" in warnings[0]


def test_check_mode_names_what_may_be_missing_and_counts_on_it(server: Server) -> None:
    unit = {"name": GATEWAY, "needs": [f"{server.store}/claude"], "restarted_by": [CONF]}

    actions, waits, warnings = server.converge(unit, check_mode=True, changed=[CONF])

    assert (len(actions), len(waits), warnings) == (1, 1, [])


def test_credentials_are_read_from_unit_files_as_systemd_reads_them() -> None:
    text = (
        "# /etc/systemd/system/x.service\n[Service]\nLoadCredential=a:/a\nLoadCredentialEncrypted=c:/c.cred\n"
        "# /etc/systemd/system/x.service.d/more.conf\n[Service]\nLoadCredential=\nLoadCredential=b\n"
    )

    found = units.credentials("x.service", lambda *_, **__: Completed(0, text.encode(), b""))

    assert found == [Credential("c", "/c.cred", True), Credential("b", "b")]


@pytest.mark.parametrize(("since", "stale"), [(0.0, True), (4e9, False)])
def test_an_encrypted_secret_is_another_once_its_file_has_changed(
    tmp_path: Path, since: float, stale: bool
) -> None:
    handed = [Credential("c", f"{tmp_path}/c.cred", True)]
    Path(handed[0].path).touch()
    status = UnitStatus(True, True, True, False, since)

    assert bool(units.outdated("x.service", status, handed, [])) is stale


def test_a_failure_tells_what_was_done_before_it(server: Server) -> None:
    server.refuses = {JOB}
    changed = [CONF]

    with pytest.raises(StepError) as caught:
        server.converge(
            {"name": GATEWAY, "restarted_by": [CONF]},
            {"name": JOB, "restarted_by": [CONF]},
            changed=changed,
        )

    assert caught.value.done == {"actions": [f"restart {GATEWAY} ({CONF} changed)"]}
