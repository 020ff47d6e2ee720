"""Whole runs: full disk, no network, broken configuration, damaged memory, secrets, messages."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from factory import __main__, effects
from factory.core.base import times
from factory.core.base.ports import Completed
from factory.core.jobs import drain
from factory.core.status import document, legacy, page, terminal
from factory.core.watchdog import checks
from factory.outcome import Exit
from factory.watchdog import notify, web
from factory.watchdog.store import PART_BYTES, Reserve
from watchdog import seed
from watchdog.conftest import START, Mount, Server, firing, needs_root

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/status.schema.json").read_text())
ADDRESS = "json://user:TopSecretToken42@127.0.0.1:{port}/hook"


class Post(http.server.BaseHTTPRequestHandler):
    """What stands for a chat and for the outside watcher."""

    heard: list[tuple[str, str]]

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.heard.append((self.path, self.rfile.read(length).decode()))
        self.send_response(200)
        self.end_headers()

    do_GET = do_POST = _answer  # noqa: N815 - the server's own naming

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def outside() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """A web server outside; yields its port and what it heard."""
    heard: list[tuple[str, str]] = []
    handler = type("Handler", (Post,), {"heard": heard})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        yield listening.server_address[1], heard
        listening.shutdown()


class Apprise:
    """Stands for the program ``apprise``: reads its file of addresses, refuses or delivers."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.refused: set[str] = set()
        self.calls: list[list[str]] = []
        self.modes: set[int] = set()

    def __call__(self, argv: Any, **options: Any) -> Completed:
        if argv[0] != "apprise":
            return effects.run(argv, **options)
        self.calls.append([str(word) for word in argv])
        file = Path(argv[argv.index("--config") + 1])
        self.modes.add(file.stat().st_mode & 0o777)
        address = file.read_text().strip()
        if address in self.refused:
            return Completed(1, b"", f"ERROR could not send to {address}".encode())
        self.sent.append((address, argv[argv.index("--title") + 1], options["stdin"].decode()))
        return Completed(0, b"", b"")


def notifying(server: Server, *addresses: str) -> Apprise:
    program = Apprise()
    server.run_program = program
    path = server.root / "apprise.conf"
    path.write_text("# who is told\n" + "\n".join(addresses) + "\n")
    server.section["notify"] = {**server.section.get("notify", {}), "apprise_path": str(path)}
    return program


def break_something(server: Server) -> None:
    server.put("drift.json", {"schema": 1, "checked_at": "2027-01-15T08:00:00Z", "changes": ["x"]})


def mend_it(server: Server) -> None:
    server.put("drift.json", {"schema": 1, "checked_at": "2027-01-15T08:00:00Z", "changes": []})


# -- messages -----------------------------------------------------------------------------


def test_an_alert_is_told_once_and_its_recovery_too(server: Server) -> None:
    program = notifying(server, "json://one")
    break_something(server)
    server.run(4)
    mend_it(server)
    server.run(4)

    assert [title for _, title, _ in program.sent] == ["test: 1 problem", "test: 1 recovered"]
    assert "PROBLEM drift: differs from the declared state: x" in program.sent[0][2]
    assert "script/converge" in program.sent[0][2]


def test_a_pager_hears_of_critical_alerts_alone(server: Server) -> None:
    program = notifying(server, "json://chat")
    pager = server.root / "urgent.conf"
    pager.write_text("json://pager\n")
    server.section["notify"] |= {"urgent_path": str(pager)}
    break_something(server)
    server.run(2)
    assert {address for address, _title, _body in program.sent} == {"json://chat"}

    server.section["engine_socket_path"] = str(server.root / "no.sock")
    program.refused = {"json://pager"}
    document = server.run(2)
    assert document["notifications"]["waiting"] == 1
    program.refused = set()
    server.run()

    (urgent,) = [body for address, _title, body in program.sent if address == "json://pager"]
    assert "PROBLEM engine" in urgent
    assert "drift" not in urgent
    server.section["engine_socket_path"] = ""
    server.run(3)
    assert [title for address, title, _ in program.sent if address == "json://pager"][1:] == [
        "test: 1 recovered"
    ]


def test_what_was_not_delivered_waits_is_visible_and_is_told_later(server: Server) -> None:
    one, two = ADDRESS.format(port=1), "json://two"
    program = notifying(server, one, two)
    program.refused = {one}
    break_something(server)

    document_ = server.run(5)

    assert [address for address, _, _ in program.sent] == [two], "who has it is not told again"
    assert document_["notifications"]["waiting"] == 1
    assert "delivery" in firing(server.run(2))
    assert "TopSecretToken42" not in json.dumps(server.status())
    program.refused = set()
    server.run(1)
    assert [address for address, _, _ in program.sent].count(one) >= 1
    assert server.status()["notifications"]["waiting"] == 0


def test_a_missing_apprise_is_said_and_everything_else_is_done(server: Server) -> None:
    notifying(server, "json://one")
    server.run_program = effects.run
    break_something(server)
    environment = os.environ["PATH"]
    os.environ["PATH"] = "/nonexistent"
    try:
        document_ = server.run()
    finally:
        os.environ["PATH"] = environment

    assert "apprise is not installed" in document_["notifications"]["error"]
    assert firing(document_) == {"drift"}


def test_an_address_reaches_the_program_by_a_private_file_alone(server: Server) -> None:
    address = ADDRESS.format(port=1)
    program = notifying(server, address)
    break_something(server)

    server.run()

    assert program.sent
    assert "TopSecretToken42" not in json.dumps(program.calls)
    assert program.modes == {0o600}
    assert list((server.root / "run").glob(".apprise*")) == []


def test_the_outside_watcher_hears_of_every_completed_run(
    server: Server, outside: tuple[int, list[tuple[str, str]]]
) -> None:
    port, heard = outside
    path = server.root / "dead-man"
    path.write_text(f"http://127.0.0.1:{port}/ping/3f9a-secret-uuid\n")
    server.section["notify"] = {"dead_man_path": str(path)}
    break_something(server)

    document_ = server.run(2)

    assert [place for place, _ in heard] == ["/ping/3f9a-secret-uuid"] * 2
    assert document_["dead_man"]["error"] == ""
    assert document_["dead_man"]["last_ok_at"] == document_["generated_at"]
    assert "secret-uuid" not in json.dumps(server.status())


def test_without_a_network_everything_is_still_written_and_the_silence_is_told(
    server: Server,
) -> None:
    path = server.root / "dead-man"
    # A port at which nobody listens.
    path.write_text("http://127.0.0.1:1/3f9a-secret-uuid\n")
    server.section["notify"] = {"dead_man_path": str(path)}

    document_ = server.run(4)

    assert "refused" in document_["dead_man"]["error"]
    assert firing(document_) == {"dead_man"}
    assert "secret-uuid" not in json.dumps(server.status())
    assert server.status()["generated_at"] == document_["generated_at"]


def test_who_has_no_outside_watcher_is_told_so(server: Server) -> None:
    document_ = server.run()

    assert document_["dead_man"]["configured"] is False
    assert {item["check"]: item["detail"] for item in document_["checks"]}["dead_man"].startswith(
        "no outside watcher is declared"
    )


# -- lanes for alerts ---------------------------------------------------------------------


class RunLane:
    """Stands for the program ``run-lane``; refuses when it is told to."""

    def __init__(self, server: Server, **heal: Any) -> None:
        self.words: list[list[str]] = []
        self.refusal = ""
        server.run_program = self
        order = {"alert": "drift", "project": "demo", "issue": 7}
        server.section["heal"] = {"mode": "repair", "lanes": [order], **heal}

    def __call__(self, argv: Any, **options: Any) -> Completed:
        if argv[0] != "/usr/local/bin/run-lane":
            return effects.run(argv, **options)
        self.words.append(list(argv[1:]))
        return Completed(1 if self.refusal else 0, b"", self.refusal.encode())


def test_an_alert_gets_the_lane_that_is_declared_for_it_once_each_time(server: Server) -> None:
    program = RunLane(server, cooldown_minutes=0)
    server.run(2)
    assert program.words == [], "while all is well nobody is called"

    break_something(server)
    document_ = server.run(3)

    assert program.words == [["demo", "7", "--detach"]]
    (attempt,) = document_["heals"]["recent"]
    assert (attempt["action"], attempt["target"], attempt["result"]) == (
        ("start_lane", "demo#7", "done")
    )
    assert document_["heals"]["waiting"] == [
        {"action": "start_lane", "target": "demo#7", "verdict": "already_started"}
    ]
    assert "demo#7" in (server.data / "status.html").read_text()
    mend_it(server)
    server.run(3)
    break_something(server)
    server.run(2)
    assert len(program.words) == 2, "it is raised anew"


def test_a_lane_that_is_refused_is_given_up_and_told(server: Server) -> None:
    program = RunLane(server, cooldown_minutes=30)
    program.refusal = "factory: project 'demo' is not known"
    break_something(server)

    document_ = server.run(8)

    assert len(program.words) == 3, "every second run, thrice"
    assert document_["heals"]["recent"][0]["detail"] == program.refusal
    assert document_["heals"]["waiting"][0]["verdict"] == "circuit_open"
    assert "healing:start_lane:demo#7" in firing(document_)


def test_the_budget_of_a_day_ends_lanes_for_alerts_and_is_told(server: Server) -> None:
    program = RunLane(server, lanes_max_per_day_count=1, cooldown_minutes=0)
    for _ in range(2):
        break_something(server)
        document_ = server.run()
        mend_it(server)
        server.run(4)

    assert len(program.words) == 1
    assert document_["heals"]["waiting"][0]["verdict"] == "budget_used_up"
    assert firing(document_) == {"drift", "healing:start_lane"}


def test_a_server_that_is_emptied_of_work_starts_no_lane_until_it_is_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = RunLane(server)
    mark = server.root / "draining.json"
    monkeypatch.setattr(drain, "MARK", str(mark))
    mark.touch()
    break_something(server)

    assert server.run(2)["heals"]["waiting"][0]["verdict"] == "draining"
    assert program.words == []
    mark.unlink()
    server.run(2)
    assert len(program.words) == 1


def test_a_silenced_alert_calls_for_no_lane(server: Server) -> None:
    program = RunLane(server)
    silence = {"match": "drift", "until": "2099-01-01", "reason": "known", "by": "ali"}
    server.section["silences"] = [silence]
    break_something(server)

    document_ = server.run(3)

    assert firing(document_) == {"drift"}
    assert program.words == []


# -- what must be written whatever happens -------------------------------------------------


def fill(directory: Path) -> None:
    """Take every last block of a filesystem."""
    for size in ("1M", "4k", "1"):
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={directory}/fill-{size}", f"bs={size}", "count=200000"],
            check=False,
            capture_output=True,
        )
    assert os.statvfs(directory).f_bavail == 0


@needs_root
def test_on_a_full_disk_the_status_is_written_and_the_alert_is_sent(
    server: Server, tmpfs: Mount
) -> None:
    disk = tmpfs("disk", "size=64m")
    program = notifying(server, "json://one")
    server.data = disk / "data"
    server.section |= {"data_dir": str(server.data), "disks": [str(disk)], "reserve_mib": 16}
    server.run()
    assert len(list((server.data / "watchdog/reserve").iterdir())) == 4
    fill(disk)

    document_ = server.run(2)

    assert document_["run"]["problems"] == []
    assert server.status()["generated_at"] == document_["generated_at"]
    assert firing(server.status()) == {f"disk_space:{disk}"}
    assert [title for _, title, _ in program.sent] == ["test: 1 problem"]
    assert len(list((server.data / "watchdog/reserve").iterdir())) < 4
    # With space again, the reserve is whole again.
    for path in disk.glob("fill-*"):
        path.unlink()
    assert firing(server.run(2)) == set()
    assert len(list((server.data / "watchdog/reserve").iterdir())) == 4


@needs_root
def test_without_inodes_the_status_is_written_all_the_same(server: Server, tmpfs: Mount) -> None:
    disk = tmpfs("disk", "size=64m,nr_inodes=60")
    server.data = disk / "data"
    server.section |= {"data_dir": str(server.data), "disks": [str(disk)], "reserve_mib": 16}
    server.run()
    for number in range(60):
        try:
            (disk / str(number)).touch()
        except OSError:
            break

    document_ = server.run(2)

    assert document_["run"]["problems"] == []
    assert firing(server.status()) == {f"disk_inodes:{disk}"}


@needs_root
def test_where_even_the_reserve_is_gone_the_status_is_in_memory(
    server: Server,
    tmpfs: Mount,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = tmpfs("disk", "size=16m")
    program = notifying(server, "json://one")
    server.data = disk / "data"
    server.section |= {"data_dir": str(server.data), "disks": [str(disk)], "reserve_mib": 0}
    server.data.mkdir()
    fill(disk)

    document_ = server.run(2)

    assert any("No space left" in problem for problem in document_["run"]["problems"])
    assert [title for _, title, _ in program.sent] == ["test: 1 problem"], "told once, not twice"
    kept = json.loads((server.root / "run/status.json").read_bytes())
    assert firing(kept) == {f"disk_space:{disk}"}
    monkeypatch.setattr("factory.watchdog.store.FALLBACK_DIR", server.root / "run")
    assert __main__.main(["status", "--config", str(server.config)]) == Exit.DONE
    assert "disk_space" in capsys.readouterr().out


def test_the_reserve_never_takes_the_last_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer:
        f_bavail, f_frsize = 2 * 4 * PART_BYTES, 1

    monkeypatch.setattr(os, "statvfs", lambda _: Answer)

    assert Reserve(tmp_path / "reserve", 16).refill() is False


def test_a_broken_part_of_the_configuration_is_named_told_and_worked_around(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    program = notifying(server, "json://one")
    server.section["limits"] = {"disk_used_percent": {"raise": "high"}}

    document_ = server.run()

    assert firing(document_) == {"configuration"}
    assert "watchdog.limits.disk_used_percent.raise is 'high'" in program.sent[0][2]
    assert __main__.main(["watchdog", "--json", "--config", str(server.config)]) == Exit.USAGE
    assert "raise is 'high'" in json.loads(capsys.readouterr().out)["error"]


def test_a_damaged_memory_is_put_aside_and_said(server: Server) -> None:
    break_something(server)
    server.run()
    state = server.data / "watchdog/state.json"
    state.write_text(state.read_text()[:-20])

    document_ = server.run()

    assert "put aside" in document_["run"]["problems"][0]
    assert state.with_name("state.json.damaged").exists()
    assert server.run()["run"]["problems"] == []


def test_declared_silences_hold_where_those_made_here_cannot_be_read(server: Server) -> None:
    silence = {"match": "drift", "until": "2099-01-01", "reason": "known", "by": "ali"}
    server.section["silences"] = [silence]
    path = server.data / "watchdog/silences.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{")
    break_something(server)

    document_ = server.run()

    assert "silences made here are not honoured" in document_["run"]["problems"][0]
    assert [each["match"] for each in document_["silences"]] == ["drift"]


def test_a_run_that_was_killed_while_sending_tells_again(server: Server) -> None:
    program = notifying(server, "json://one")
    break_something(server)

    def killed(argv: Any, **options: Any) -> Completed:
        if argv[0] == "apprise":
            raise KeyboardInterrupt
        return effects.run(argv, **options)

    server.run_program = killed
    with pytest.raises(KeyboardInterrupt):
        server.run()
    server.run_program = program
    server.run()

    assert [title for _, title, _ in program.sent] == ["test: 1 problem"]


# -- what is written ----------------------------------------------------------------------


def test_the_documented_schema_holds_for_a_rotten_a_well_and_a_real_server(server: Server) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for told in (
        document.build(seed.report()),
        document.build(seed.report(seed.well_facts())),
        server.run(),
    ):
        jsonschema.validate(json.loads(json.dumps(told)), SCHEMA)


def test_the_schema_knows_every_key_and_refuses_others(server: Server) -> None:
    told = json.loads(json.dumps(document.build(seed.report())))
    assert set(told) == set(SCHEMA["properties"]) == set(SCHEMA["required"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**told, "alerts": ["disk-high:99%"]}, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**told, "extra": 1}, SCHEMA)


def test_with_all_well_there_is_no_alert_at_all(server: Server) -> None:
    server.section["legacy_status_path"] = str(server.root / "old/WATCHDOG-STATUS.json")
    server.run(3)

    old = json.loads((server.root / "old/WATCHDOG-STATUS.json").read_bytes())
    assert server.status()["alerts"] == []
    assert server.status()["overall"] == "ok"
    assert old["alerts"] == []


def test_the_page_of_a_well_server_has_nothing_red() -> None:
    def shown(facts: Any) -> str:
        return page.render(document.build(seed.report(facts))).partition("<body>")[2]

    assert "No alert." in shown(seed.well_facts())
    for mark in ('class="alert', 'class="problem"', 'badge problem"'):
        assert mark in shown(seed.known_facts())
        assert mark not in shown(seed.well_facts())


def test_a_status_that_nobody_renews_says_that_it_is_old() -> None:
    told = document.build(seed.report())
    due = times.seconds(told["next_expected_at"])

    assert "this is old" not in terminal.render(told, due + 30, 100)
    assert "this is old" in terminal.render(told, due + 90, 100)


def test_the_terminal_shows_alerts_before_everything_else() -> None:
    shown = terminal.render(document.build(seed.report()), seed.NOW, 100)

    first = shown.index("CRITICAL merge_halted:aina-academy")
    assert all(first < shown.index(part) for part in ("DISK /", "JOB ", "RUNNER ", "BOARD: "))


def test_the_headline_is_not_ok_while_something_is_unknown(server: Server) -> None:
    server.put("drift.json", "[]")

    document_ = server.run()

    assert (document_["overall"], document_["alerts"]) == ("unknown", [])


def test_old_readers_find_their_words_and_the_board_is_a_fact() -> None:
    old = legacy.build(document.build(seed.report()))

    assert old["board"] == "blocked=1 errored=2 todo=66 done=134"
    assert all(isinstance(alert, str) for alert in old["alerts"])
    assert any(alert.startswith("disk_space:/") for alert in old["alerts"])
    assert not any("board" in alert for alert in old["alerts"])


def test_a_gap_between_two_runs_is_told(server: Server) -> None:
    server.run()
    server.now += 7200

    assert firing(server.run()) == {"run_gap"}
    assert firing(server.run(2)) == set()


def test_history_is_kept_for_two_weeks_and_cut(server: Server) -> None:
    server.section["interval_seconds"] = 86400
    history = server.data / "watchdog/samples.jsonl"
    days = range(100, 0, -1)
    lines = [[START - day * 86400, "/", 50 << 30, 50 << 30, 1000] for day in days]
    server.put("watchdog/samples.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))

    document_ = server.run()

    assert len(history.read_text().splitlines()) == 14
    told = [at for at, _used in document_["disk"][0]["history"]]
    assert (told[0], len(told)) == (START - 13 * 86400, 14)


# -- commands -----------------------------------------------------------------------------


def factory(server: Server, *words: str) -> int:
    server.write_config()
    return __main__.main([words[0], "--config", str(server.config), *words[1:]])


def test_the_command_runs_once_and_status_shows_it(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert factory(server, "watchdog", "--json") == Exit.DONE
    first = json.loads(capsys.readouterr().out)
    assert first["schema"] == 1
    assert factory(server, "status", "--json") == Exit.DONE
    assert json.loads(capsys.readouterr().out)["generated_at"] == first["generated_at"]
    written = server.root / "page.html"
    assert factory(server, "status", "--html", str(written)) == Exit.DONE
    assert written.read_text().startswith("<!doctype html>")
    capsys.readouterr()
    assert factory(server, "status") == Exit.DONE
    assert "no alert" in capsys.readouterr().out or first["alerts"]


@pytest.mark.parametrize(
    ("section", "good", "bad"),
    [
        ("watchdog", {"disks": ["/"]}, {"disk": ["/"]}),
        ("paperclip", {"port": 3100}, {"port": 0}),
        ("backup", {"repository": "/srv/r", "paths": ["/etc"]}, {"repository": "/srv/r"}),
    ],
)
def test_a_policy_is_judged_before_it_is_in_force(
    tmp_path: Path, section: str, good: Any, bad: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fragment.json"
    for policy, status in ((good, Exit.DONE), (bad, Exit.USAGE)):
        file.write_text(json.dumps({section: policy}))
        assert __main__.main(["validate", "--fragment", str(file)]) == status
    assert f"{section}." in capsys.readouterr().err


def test_two_runs_at_once_are_refused(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    from factory.locks import exclusive

    with exclusive(server.root / "lock/factory-watchdog.lock"):
        assert factory(server, "watchdog", "--json") == Exit.LOCKED
    assert "factory-watchdog.lock" in json.loads(capsys.readouterr().out)["error"]


def test_watching_shows_the_status_again_and_again(server: Server) -> None:
    server.run()
    server.write_config()
    argv = [f"{ROOT}/.venv/bin/factory", "status", "--config", str(server.config), "--watch=0.2"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        assert "\033" not in line, "a pipe gets no codes"
        seen += line.startswith("test ")
        if seen == 3:
            break
    process.terminate()
    process.wait(30)

    assert seen == 3


def test_a_silence_is_made_shown_and_ended(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "now", lambda: server.now)
    program = notifying(server, "json://one")
    break_something(server)
    assert factory(server, "silence", "drift", "--reason", "x") == Exit.USAGE
    assert "--hours" in capsys.readouterr().err
    assert factory(server, "silence", "drift", "--hours", "2") == Exit.USAGE
    assert "--reason" in capsys.readouterr().err
    assert factory(server, "silence", "drfit", "--hours", "2", "--reason", "x") == Exit.USAGE
    assert "must fit a check's name" in capsys.readouterr().err
    assert factory(server, "silence", "drift", "--hours", "999", "--reason", "x") == Exit.USAGE
    assert "at most 168 are made here" in capsys.readouterr().err
    assert factory(server, "silence") == Exit.DONE
    assert capsys.readouterr().out == "nothing is silent\n"
    argv = ("silence", "drift", "--hours", "2", "--reason", "we know", "--by", "ali")
    assert factory(server, *argv) == Exit.DONE
    capsys.readouterr()
    assert factory(server, "silence") == Exit.DONE
    assert capsys.readouterr().out.endswith("ali, made here: we know\n")

    document_ = server.run(2)

    assert firing(document_) == {"drift"}
    assert document_["alerts"][0]["silenced"]["reason"] == "we know"
    assert program.sent == []
    assert factory(server, "silence", "drift", "--end") == Exit.DONE
    server.run()
    assert [title for _, title, _ in program.sent] == ["test: 1 problem"]


def test_a_silence_ends_by_itself(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "now", lambda: server.now)
    program = notifying(server, "json://one")
    break_something(server)
    factory(server, "silence", "dr*", "--hours", "1", "--reason", "we know")

    server.run(6)

    assert [title for _, title, _ in program.sent] == ["test: 1 problem"]


def test_the_self_test_fails_where_an_alert_could_never_fire(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of them under the defaults is a test of the core; here two say how the command ends.
    few = tuple(check for check in checks.CHECKS if check.name in ("disk_trend", "engine"))
    monkeypatch.setattr(checks, "CHECKS", few)
    assert factory(server, "watchdog", "--selftest") == Exit.DONE
    capsys.readouterr()
    # No disk is full in less than no time.
    server.section["limits"] = {"disk_full_within_hours": {"raise": 0, "clear": 0}}
    assert factory(server, "watchdog", "--selftest", "--json") == Exit.FAILED
    assert json.loads(capsys.readouterr().out)["failed"] == ["disk_trend"]
    server.section["limits"] = {"cpu_pressure_percent": {"raise": "x"}}
    assert factory(server, "watchdog", "--selftest") == Exit.USAGE
    assert "cpu_pressure_percent.raise is 'x'" in capsys.readouterr().err


def test_no_secret_is_in_any_output(
    server: Server, outside: tuple[int, list[tuple[str, str]]], capfd: pytest.CaptureFixture[str]
) -> None:
    port, _heard = outside
    address = ADDRESS.format(port=1)
    program = notifying(server, address)
    program.refused = {address}
    dead_man = server.root / "dead-man"
    dead_man.write_text(
        f"http://127.0.0.1:{port}/ping/3f9a-secret-uuid\nhttp://127.0.0.1:1/TopSecretToken42\n"
    )
    server.section["notify"] |= {"dead_man_path": str(dead_man)}
    server.section["metrics_path"] = str(server.data / "m.prom")
    server.section["legacy_status_path"] = str(server.data / "old.json")
    break_something(server)
    server.run(3)
    factory(server, "status", "--json")
    factory(server, "status")

    said = "".join(capfd.readouterr())
    written = [path for path in server.data.rglob("*") if path.is_file()]
    assert len(written) >= 6
    for text in [said, *(path.read_text() for path in written)]:
        assert "TopSecretToken42" not in text
        assert "secret-uuid" not in text


def test_an_address_without_a_program_is_never_printed() -> None:
    address = "ftp://example.com/secretsecret"
    error = notify._ping(address, [address], web.fetch, 1, failed=False)

    assert "secretsecret" not in error


def test_the_first_status_looks_by_itself(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.write_config()
    if os.geteuid() != 0:
        pytest.skip("only root may look; run as root")

    assert factory(server, "status") == Exit.DONE

    assert " s ago" in capsys.readouterr().out.splitlines()[0]
    (server.data / "status.json").unlink()
    capsys.readouterr()
    assert factory(server, "status") == Exit.FAILED, "it ran, and its status is lost"
    assert "run factory watchdog" in capsys.readouterr().err
