"""A real Chromium without a window: what it draws, what it says, what it asks for."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 120
PROBE_MARK = "probe-result"
# What the page looks like to a person, asked by a script that only the tests add.
PROBE = """
<script>addEventListener('load',()=>{
const box=document.createElement('pre');box.id='probe-result';
const seen=element=>{const r=element.getBoundingClientRect();const s=getComputedStyle(element);
return {text:element.innerText,width:r.width,height:r.height,left:r.left,right:r.right,
color:s.color,border:s.borderLeftColor,shown:s.display!=='none'&&s.visibility==='visible'}};
box.textContent=JSON.stringify({
dark:matchMedia('(prefers-color-scheme:dark)').matches,background:getComputedStyle(document.body).backgroundColor,
width:innerWidth,scroll:document.documentElement.scrollWidth,
alerts:[...document.querySelectorAll('#alerts .alert')].map(seen),
overall:seen(document.getElementById('overall')),old:seen(document.getElementById('old')),
sections:[...document.querySelectorAll('section')].map(e=>[e.id,seen(e)]),
cells:[...document.querySelectorAll('td.problem')].map(seen),
heads:[...document.querySelectorAll('thead')].map(e=>seen(e).shown),
plots:[...document.querySelectorAll('svg.plot')].map(e=>e.getBoundingClientRect().height),
lines:[...document.querySelectorAll('svg .line')].map(e=>e.points.length)});
document.body.append(box)})</script>
"""


def program() -> str:
    """Return the browser; skip the test, and say how to get it, where there is none."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no Chromium (Debian: apt install chromium)")


@dataclass
class Seen:
    """One visit: the page's own text, its console, what was asked of the network."""

    dom: str
    console: list[str]
    requests: list[str]
    probe: dict[str, Any] = field(default_factory=dict)


@contextmanager
def serving(pages: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Serve the pages on loopback; yields the address and the list of what was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = pages.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=functools.partial(server.serve_forever, 0.05), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def visit(
    page: str,
    directory: Path,
    *,
    dark: bool = False,
    width: int = 1100,
    probe: bool = False,
    screenshot: Path | None = None,
) -> Seen:
    """Open the page; a narrow one stands in a frame, for windows have a least width."""
    inner = page
    if probe:
        # The page's own policy forbids every foreign script, this one too.
        inner = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        inner = inner.replace("</body>", f"{PROBE}</body>")
    pages = {"/": inner}
    address = "/"
    if width < 600:
        pages["/frame"] = (
            '<!doctype html><link rel="icon" href="data:,"><body style="margin:0">'
            f'<iframe src="/" style="border:0;width:{width}px;height:6000px" '
            "onload=\"this.after(this.contentDocument.getElementById('probe-result')||'')\">"
            "</iframe></body>"
        )
        address = "/frame"
    with serving(pages) as (origin, asked):
        argv = [
            program(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--hide-scrollbars",
            f"--user-data-dir={directory / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={max(width, 600)},{6000 if screenshot else 900}",
            "--enable-logging=stderr",
            "--virtual-time-budget=2000",
        ]
        argv += [f"--screenshot={screenshot}"] if screenshot else ["--dump-dom"]
        done = subprocess.run(
            [*argv, f"{origin}{address}"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=True,
        )
    console = re.findall(r":CONSOLE[:(][^\]]*\] (.*)", done.stderr)
    found = re.search(rf'<pre id="{PROBE_MARK}">(.*?)</pre>', done.stdout, re.DOTALL)
    text = found[1] if found else "{}"
    for code, letter in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(code, letter)
    return Seen(
        done.stdout, console, [path for path in asked if path != "/frame"], json.loads(text)
    )


class Tab:
    """A browser that is told what to do over two pipes, as its own developer tools do."""

    def __init__(self, directory: Path) -> None:
        ask, self._out = os.pipe()
        self._in, answer = os.pipe()
        argv = [program(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        argv += ["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"]
        argv += [f"--user-data-dir={directory / 'profile'}", "about:blank"]
        # It reads from 3 and writes to 4, whatever these are here.
        words = ["bash", "-c", f'exec "$@" 3<&{ask} 4>&{answer}', "chromium", *argv]
        self.process = subprocess.Popen(
            words,
            pass_fds=[ask, answer],
            stderr=subprocess.DEVNULL,
        )
        os.close(ask)
        os.close(answer)
        self._rest, self._number, self._session = b"", 0, ""
        self.console: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        asked = {"id": self._number, "method": method, "params": parameters, **session}
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                piece = os.read(self._in, 1 << 20)
                assert piece, "the browser is gone"
                self._rest += piece
            line, _nul, self._rest = self._rest.partition(b"\0")
            told = json.loads(line)
            if told.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.console.append(json.dumps(told["params"]))
            if told.get("id") == self._number:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result

    def evaluate(self, expression: str) -> Any:
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.1)

    def open(self, address: str, width: int, height: int, *, dark: bool) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def tab(directory: Path) -> Iterator[Tab]:
    """Start a browser, and end it afterwards."""
    found = Tab(directory)
    try:
        yield found
    finally:
        found.process.terminate()
        found.process.wait(20)
