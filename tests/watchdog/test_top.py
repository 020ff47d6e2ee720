"""The status in a terminal that changes, and what the factory has brought about hour by hour."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from factory import __main__, console, top
from factory.core.base import times
from factory.core.status import document, page
from factory.core.status.page import LaneNow
from factory.core.watchdog import work
from factory.outcome import Exit
from factory.watchdog import prove
from factory.watchdog.published import Published
from watchdog import seed
from watchdog.conftest import Server
from watchdog.test_console import LANE, rotten
from watchdog.test_proofs import no_tables

HOUR, DAY = 3600.0, 86400.0
MIDNIGHT = 1_800_057_600.0  # 2027-01-16T00:00:00Z


def put_status(server: Server) -> None:
    now = time.time()
    fresh = {"generated_at": times.iso(now), "next_expected_at": times.iso(now + 900)}
    server.put("status.json", {**rotten(), **fresh})
    server.write_config()


# -- factory top --------------------------------------------------------------------------


def drawn(found: Published, lanes: dict[str, LaneNow]) -> str:
    from rich.console import Console

    screen = io.StringIO()
    Console(file=screen, width=160, height=200, force_terminal=False).print(
        top.drawn(found, lanes, seed.NOW)
    )
    return screen.getvalue()


def test_top_shows_alerts_disk_agents_queue_and_jobs_as_text() -> None:
    told = drawn(Published(rotten(), "x"), {LANE: LaneNow(f"▸ npm test {seed.HOSTILE}", 1234)})

    for words in ("CRITICAL", "98.7 %", LANE, "1,234", "npm test", "#400", "merges now", "janitor"):
        assert words in told
    assert "\x1b" not in told
    assert "<script>" in told


def test_top_says_why_there_is_nothing_to_see() -> None:
    assert "cannot be read" in drawn(Published(None, problem="it cannot be read"), {})


def test_top_is_a_plain_table_in_a_pipe(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    put_status(server)

    code = __main__.main(["top", "--config", str(server.config)])

    told = capsys.readouterr().out
    assert code == Exit.DONE
    assert "MERGE QUEUE" in told or "PROJECT" in told
    assert "\x1b" not in told


def test_top_changes_in_place_until_somebody_presses_q(server: Server) -> None:
    put_status(server)
    program = Path(console.__file__).parents[1]
    main, side = pty.openpty()
    given = ["top", "--seconds", "0.3", "--config", str(server.config)]
    words = f"import sys;from factory.__main__ import main;sys.exit(main({given}))"
    environment = {**os.environ, "PYTHONPATH": str(program), "TERM": "xterm", "COLUMNS": "120"}
    environment |= {"LINES": "60"}
    with subprocess.Popen(
        [sys.executable, "-c", words], stdin=side, stdout=side, stderr=side, env=environment
    ) as process:
        os.close(side)
        try:
            shown = read_until(main, b"98.7 %")
            server.put("status.json", {**server.status(), "host": "another-host"})
            shown += read_until(main, b"another-host")
            os.write(main, b"q")
            read_until(main, b"\x1b[?1049l")
            assert process.wait(20) == 0
        finally:
            process.kill()
    os.close(main)

    assert b"\x1b[?1049h" in shown, "it has a screen of its own"
    assert b"<script>" in shown or b"dangling" in shown or b"AIN-200" in shown


def read_until(terminal: int, wanted: bytes, seconds: float = 30) -> bytes:
    told, deadline = b"", time.monotonic() + seconds
    while wanted not in told and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                told += os.read(terminal, 65536)
            except OSError:
                break
    assert wanted in told, told[-2000:]
    return told


# -- history ------------------------------------------------------------------------------


def totals(**found: float) -> work.Totals:
    return {**dict.fromkeys(work.QUANTITIES, 0.0), **found}


def test_each_hour_holds_what_was_added_in_it_also_over_midnight() -> None:
    days = {"2027-01-15": totals(landed=3), "2027-01-16": totals()}

    def look(at: float, kept: Any) -> Any:
        return work.added(kept, lambda day: days[day], at)

    kept = look(MIDNIGHT - 2 * HOUR, None)
    days["2027-01-15"] = totals(landed=5, tokens=70)
    kept = look(MIDNIGHT - HOUR, kept)
    # After the last look of the day, and before the first of the next.
    days |= {"2027-01-15": totals(landed=6, tokens=70), "2027-01-16": totals(landed=1)}
    kept = look(MIDNIGHT + 1800, kept)
    kept = look(MIDNIGHT + 1860, kept)

    shown = work.shown(kept, MIDNIGHT + 1860)
    assert [item["landed"] for item in shown["hours"]][-3:] == [3, 3, 1]
    assert [item["landed"] for item in shown["days"]][-2:] == [6, 1]
    assert sum(item["tokens"] for item in shown["days"]) == 70


def test_the_history_is_bounded() -> None:
    kept: Any = None
    counted = 0.0

    def more(_day: str) -> work.Totals:
        return totals(landed=counted)

    for hour in range(2 * work.KEPT_HOURS):
        counted += 1
        kept = work.added(kept, more, hour * HOUR)

    assert len(kept["hours"]) <= work.KEPT_HOURS


def test_what_landed_was_reaped_and_spent_is_counted_and_drawn(server: Server) -> None:
    day = work.day_of(server.now)
    cycle = {"event": "cycle", "time": server.now, "landed": 2}
    old = {**cycle, "time": server.now - 2 * DAY}
    lines = [cycle, {"event": "decide", "time": server.now}, old]
    server.put("marshal/demo/audit.jsonl", "\n".join(map(json.dumps, lines)) + "\nhalf a li")
    server.put("reaped.jsonl", json.dumps({"at": server.now, "count": 4}) + "\n")
    spent = {"project": "demo", "tokens": 1500, "cost_usd": 0.25}
    server.put(f"lanes/spent/{day}.jsonl", f"{json.dumps(spent)}\n{json.dumps(spent)}\n")

    prove.prove(server.watchdog().policy, no_tables, server.now, root=server.root)
    told = server.run()

    last = told["work"]["days"][-1]
    assert (last["landed"], last["reaped"], last["tokens"], last["cost_usd"]) == (2, 4, 3000, 0.5)
    drawn = page.main(told, server.now)
    assert "Pull requests landed, by day: 2 in all" in drawn
    assert "Cost in USD, by hour: 0.5 in all" in drawn


def test_a_server_without_history_says_so() -> None:
    told = document.build(seed.report())

    assert "Worktrees reaped, by day: nothing yet." in page.main(told, seed.NOW)
