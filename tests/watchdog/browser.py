"""A real Chromium without a window: what it draws, what it says, what it asks for."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
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
