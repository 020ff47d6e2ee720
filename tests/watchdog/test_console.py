"""The console: who may see it, what it shows, and how it looks in a real browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from factory import console
from factory.core.base import times
from factory.core.base.configuration import Section
from factory.core.status import document
from factory.core.watchdog import policy
from factory.core.watchdog.facts import Known
from factory.core.watchdog.sources import Facts
from watchdog import browser, seed

ARTEFACTS = Path(__file__).resolve().parents[2] / ".cache" / "watchdog"
TOKEN = "t" * 43
LONG = "/home/ali/" + "very-long-name-" * 13
LANE = "aina-academy-252-0a1b2c3d"
IDLE_SECONDS = 1.5


@dataclass
class Served:
    """A console on a port of its own, over a status that can be changed."""

    port: int
    data: Path
    asked: list[str]

    def get(self, target: str, **headers: str) -> tuple[int, Mapping[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", target, headers=given)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    def see(self, target: str, **headers: str) -> tuple[int, Mapping[str, str], str]:
        return self.get(target, Authorization=f"Bearer {TOKEN}", **headers)

    def put_status(self, **changes: Any) -> None:
        now = time.time()
        fresh = {
            "generated_at": times.iso_or_none(now),
            "next_expected_at": times.iso_or_none(now + 900),
        }
        told = {**rotten(), **fresh, **changes}
        (self.data / "status.json").write_text(json.dumps(told))


def rotten() -> dict[str, Any]:
    """Return the status of a server in trouble, with a lane at work and a path without end."""
    facts: Facts = seed.known_facts()
    known = seed._lanes(seed.NOW)["lane-17"]
    assert isinstance(known, Known)
    given = seed.having(facts, lanes=Known({LANE: Known(replace(known.value, name=LANE))}))
    told = document.build(seed.report(given))
    told["alerts"][0]["detail"] += f" in {LONG}"
    told["disk"][0]["owners"]["buckets"][0]["name"] = LONG
    return told


@contextmanager
def serving(tmp_path: Path) -> Iterator[Served]:
    data = tmp_path / "data"
    lane = data / "lanes" / LANE
    lane.mkdir(parents=True)
    events = [
        {"type": "lane", "what": "begins"},
        {
            "type": "item.completed",
            "item": {
                "type": "command_execution",
                "command": "npm test",
                "aggregated_output": f"7 tests passed {seed.HOSTILE}",
            },
        },
        {"type": "item.started", "item": {"type": "command_execution", "command": "git diff"}},
    ]
    (lane / "transcript.jsonl").write_text("\n".join(map(json.dumps, events)) + "\nhalf a li")
    charged = [
        {"kind": "model", "tokens_total": 1200},
        {"kind": "model", "tokens_total": 1234, "cost_total_usd": 1.5},
    ]
    (lane / "gateway.jsonl").write_text("\n".join(map(json.dumps, charged)))
    (lane / "state.json").write_text(json.dumps({"state": "running", "project": "aina-academy"}))
    chosen = policy.from_section(Section({"data_dir": str(data)}, "watchdog"))
    own = console.Console(chosen, data / "lanes", TOKEN)
    asked: list[str] = []

    class Watched(console.Console):
        def reply(self, request: console.Asked, now: float) -> console.Reply:
            asked.append(request.target)
            return console.Console.reply(self, request, now)

    with console.listening("127.0.0.1:0") as listening:
        served = Watched(own.policy, own.lanes_dir, own.token)
        server = console.Server(listening, served)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        found = Served(listening.getsockname()[1], data, asked)
        found.put_status()
        try:
            yield found
        finally:
            server.shutdown()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as found:
        yield found


SECRETS = ("aina-academy", "agent-workspaces", "codex")


@pytest.mark.parametrize("target", ["/", "/?part", "/status.json", f"/lane/{LANE}", "/nowhere"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"factory-console={TOKEN}"},
        {"Cookie": "factory-console="},
    ],
)
def test_without_the_token_nothing_is_shown(
    served: Served, target: str, headers: dict[str, str]
) -> None:
    status, _headers, body = served.get(target, **headers)

    assert status == 403
    assert not any(word in body for word in SECRETS)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com"},
        {"Host": "evil.example.com:8713"},
        {"Origin": "http://evil.example.com"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
    ],
)
def test_from_another_origin_nothing_is_shown_not_even_with_the_token(
    served: Served, headers: dict[str, str]
) -> None:
    status, _headers, body = served.see("/", **headers)

    assert status == 403
    assert not any(word in body for word in SECRETS)


def test_a_name_that_the_site_declares_may_lead_to_the_console(tmp_path: Path) -> None:
    section = {"console": {"names": ["factory.example.com"]}, "data_dir": str(tmp_path)}
    chosen = policy.from_section(Section(section, "watchdog"))
    own = console.Console(chosen, tmp_path, TOKEN)
    bearer = {"authorization": f"Bearer {TOKEN}"}

    def status(host: str) -> int:
        return own.reply(console.Asked("/", {**bearer, "host": host}), 0).status

    assert status("factory.example.com") == 503, "let in, though no status is there yet"
    assert status("other.example.com") == 403


def test_the_token_opens_the_console_once_and_leaves_the_address(served: Served) -> None:
    assert served.get("/?token=wrong")[0] == 403

    status, headers, _body = served.get(f"/?token={TOKEN}")

    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    status, headers, body = served.get("/", Cookie=cookie.partition(";")[0])
    assert status == 200
    assert "aina-academy" in body
    assert served.get(f"//evil.example.com/?token={TOKEN}")[1]["location"].startswith("/evil")


def test_what_the_browser_may_do_is_bounded(served: Served) -> None:
    _status, headers, body = served.see("/")

    given = headers["content-security-policy"]
    assert "unsafe" not in given
    assert given.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in given
    assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")
    assert headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"\sstyle=|\son[a-z]+=|<script src|<link rel=.stylesheet", body)
    assert served.get("/", Host="")[0] == 403


def test_what_has_not_changed_is_not_sent_again(served: Served) -> None:
    _status, headers, body = served.see("/?part")
    assert served.see("/?part", If_None_Match=headers["etag"])[0] == 304
    assert "<html" not in body

    served.put_status(host="another")
    status, _headers, body = served.see("/?part", If_None_Match=headers["etag"])

    assert status == 200
    assert "another" in body


def test_a_status_that_nobody_renews_or_from_the_future_is_not_ok(served: Served) -> None:
    def badge() -> str:
        found = re.search(r'id="overall">(\w+)<', served.see("/?part")[2])
        assert found
        return found[1]

    served.put_status(overall="ok")
    assert badge() == "ok"
    _status, headers, _body = served.see("/?part")
    old = {"generated_at": "2026-01-01T00:00:00Z", "next_expected_at": "2026-01-01T00:15:00Z"}
    served.put_status(overall="ok", **old)
    assert badge() == "unknown"
    assert served.see("/?part", If_None_Match=headers["etag"])[0] == 200
    ahead = {"generated_at": "2999-01-01T00:00:00Z", "next_expected_at": "2999-01-01T00:15:00Z"}
    served.put_status(overall="ok", **ahead)
    assert badge() == "unknown"


def test_a_lane_shows_what_it_does_and_what_it_cost(served: Served) -> None:
    page = served.see("/?part")[2]
    assert "git diff" in page
    assert "1,234 tokens (1.50 USD)" in page

    status, _headers, body = served.see(f"/lane/{LANE}")

    assert status == 200
    assert "npm test" in body
    assert "7 tests passed &lt;script&gt;" in body
    assert "<script>alert" not in body


@pytest.mark.parametrize("name", ["../../etc", "..%2f..", "x", "demo-1-zzzzzzzz", ""])
def test_what_is_no_lane_leads_nowhere(served: Served, name: str) -> None:
    assert served.see(f"/lane/{name}")[0] == 404


def test_a_transcript_that_leads_elsewhere_is_not_read(served: Served) -> None:
    secret = served.data / "secret"
    secret.write_text('{"type":"lane","what":"hidden thing"}\n')
    path = served.data / "lanes" / LANE / "transcript.jsonl"
    path.unlink()
    path.symlink_to(secret)

    assert "hidden thing" not in served.see(f"/lane/{LANE}")[2]
    path.unlink()
    os.mkfifo(path)
    assert served.see(f"/lane/{LANE}")[0] == 200, "a pipe is not waited for"


def test_a_status_that_cannot_be_read_is_said(served: Served) -> None:
    (served.data / "status.json").write_text("{")
    status, _headers, body = served.see("/")
    assert status == 503
    assert "cannot be read" in body


def test_a_large_server_is_sent_in_200_kb(served: Served) -> None:
    told = rotten()
    queue = told["merge_queue"]["items"][0]
    pull = queue["pull_requests"][1]
    queue["pull_requests"] = [{**pull, "number": number} for number in range(200)]
    lane = told["lanes"]["items"][0]
    told["lanes"]["items"] = [{**lane, "name": f"{LANE[:-1]}{n:x}"} for n in range(16)] * 3
    served.put_status(merge_queue=told["merge_queue"], lanes=told["lanes"])

    assert len(served.see("/?part")[2]) < 200_000


def test_five_open_pages_cost_under_three_percent_of_a_core(served: Served) -> None:
    _status, headers, _body = served.see("/?part")
    begun, looks = resource.getrusage(resource.RUSAGE_SELF), 20

    for _look in range(looks):
        assert served.see("/?part", If_None_Match=headers["etag"])[0] == 304

    ended = resource.getrusage(resource.RUSAGE_SELF)
    spent = ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime
    # A page looks every five seconds; what the asking side costs is counted, too.
    assert spent / looks * 5 / 5 < 0.03


def test_the_console_ends_when_nobody_comes(tmp_path: Path) -> None:
    chosen = policy.from_section(Section({"data_dir": str(tmp_path)}, "watchdog"))
    own = console.Console(chosen, tmp_path, TOKEN)
    with console.listening("127.0.0.1:0") as listening:
        served = threading.Thread(target=console.serve, args=(own, [listening], IDLE_SECONDS))
        served.start()
        served.join(IDLE_SECONDS + 20)
        assert not served.is_alive()


def test_who_comes_by_one_address_keeps_the_others_open(tmp_path: Path) -> None:
    chosen = policy.from_section(Section({"data_dir": str(tmp_path)}, "watchdog"))
    own = console.Console(chosen, tmp_path, TOKEN)
    with console.listening("127.0.0.1:0") as first, console.listening("127.0.0.1:0") as second:
        visited, idle = (Served(item.getsockname()[1], tmp_path, []) for item in (first, second))
        arguments = (own, [first, second], IDLE_SECONDS)
        thread = threading.Thread(target=console.serve, args=arguments)
        thread.start()
        until = time.monotonic() + 2.5 * IDLE_SECONDS
        while time.monotonic() < until:
            assert visited.get("/")[0] == 403
            time.sleep(IDLE_SECONDS / 4)

        assert idle.get("/")[0] == 403

        thread.join(IDLE_SECONDS + 20)
        assert not thread.is_alive()


def test_systemd_hands_the_socket_over(tmp_path: Path) -> None:
    (tmp_path / "factory.json").write_text(
        json.dumps({"watchdog": {"data_dir": str(tmp_path), "console": {"idle_seconds": 10}}})
    )
    (tmp_path / "watchdog").mkdir()
    (tmp_path / "watchdog/console-token").write_text(TOKEN)
    with console.listening("127.0.0.1:0") as listening:
        port = listening.getsockname()[1]
        program = (
            "import os,sys\n"
            f"os.dup2({listening.fileno()}, 3); os.set_inheritable(3, True)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
            "from factory.__main__ import main\n"
            f"sys.exit(main(['console', '--serve', '--config', '{tmp_path}/factory.json']))\n"
        )
        path = Path(console.__file__).parents[1]
        process = subprocess.Popen(
            [shutil.which("python3") or "python3", "-c", program],
            pass_fds=[listening.fileno()],
            env={**os.environ, "PYTHONPATH": str(path)},
        )
        try:
            found = Served(port, tmp_path, [])
            assert found.get("/")[0] == 403
            assert found.see("/")[0] == 503
        finally:
            process.terminate()
            process.wait(10)


def test_the_token_is_made_once_and_is_roots_alone(tmp_path: Path) -> None:
    chosen = policy.from_section(Section({"data_dir": str(tmp_path)}, "watchdog"))
    with pytest.raises(OSError, match="No such file"):
        console.token_of(chosen)

    token = console.token_of(chosen, make=True)

    path = tmp_path / "watchdog/console-token"
    assert len(token) >= 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert console.token_of(chosen, make=True) == token == console.token_of(chosen)
    path.write_text("")
    with pytest.raises(OSError, match="holds no token"):
        console.token_of(chosen)


# -- in a real browser --------------------------------------------------------------------

AXE = Path(__file__).resolve().parents[2] / ".cache" / "axe" / "package" / "axe.min.js"
PROBE = """(async()=>{
const seen=id=>{const r=document.getElementById(id).getBoundingClientRect();
return {text:document.getElementById(id).innerText,bottom:r.bottom,right:r.right}};
const found=typeof axe==='undefined'?{violations:[]}:await axe.run();
return {width:innerWidth,scroll:document.documentElement.scrollWidth,hacked:window.hacked===true,
axe:found.violations.map(v=>v.id+': '+v.nodes.map(n=>n.html).slice(0,2)),
dark:matchMedia('(prefers-color-scheme:dark)').matches,
tiles:['overall','headline','tile-disk','tile-lanes','tile-merge_queue','tile-jobs'].map(seen)}})()"""


@pytest.mark.slow
@pytest.mark.browser
def test_the_first_screen_answers_the_questions(served: Served, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{served.port}/?token={TOKEN}"
    for width, height, dark in ((390, 844, True), (1280, 800, False)):
        with browser.tab(tmp_path / str(width)) as tab:
            tab.open(address, width, height, dark=dark)
            if AXE.exists():
                tab.evaluate(AXE.read_text())
            probe = tab.evaluate(PROBE)
            tab.screenshot(ARTEFACTS / f"console-{width}-{'dark' if dark else 'light'}.png")
            console_said = tab.console

        assert (probe["width"], probe["dark"], probe["hacked"]) == (width, dark, False)
        assert probe["scroll"] <= width, "no sideways scroll, however long a path is"
        assert all(tile["bottom"] <= height for tile in probe["tiles"]), probe["tiles"]
        overall, headline, disk, lanes, queue, jobs = (tile["text"] for tile in probe["tiles"])
        assert overall == "problem"
        assert "critical" in headline
        assert "98.7 % of /" in disk
        assert "GiB" in disk
        assert "git diff" in lanes
        assert "1,234 tokens (1.50 USD)" in lanes
        assert "waits for" in queue
        assert "failed janitor" in jobs
        assert probe["axe"] == []
        assert console_said == []


@pytest.mark.slow
@pytest.mark.browser
def test_a_change_is_seen_without_loading_the_page_anew(served: Served, tmp_path: Path) -> None:
    with browser.tab(tmp_path) as tab:
        tab.open(f"http://127.0.0.1:{served.port}/?token={TOKEN}", 1280, 800, dark=False)
        tab.evaluate("document.getElementById('all').open=true;window.same=true")

        served.put_status(host="renamed-meanwhile")

        tab.wait_for("document.querySelector('h1').innerText === 'renamed-meanwhile'")
        assert tab.evaluate("window.same === true && document.getElementById('all').open")
        assert tab.console == []
    assert [target for target in served.asked if target == "/"] == ["/"]
