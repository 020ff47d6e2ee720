"""A stub of Paperclip: health, companies, dashboard, runs, in the shape of the real one."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from factory.core.base import times

COMPANY = "023b2d1b-1584-4b9c-b29c-eb10e10e4ef0"


class Stub:
    """A server on loopback whose answers a test can spoil."""

    def __init__(self, now: Callable[[], float], address: str = "127.0.0.1") -> None:
        self.now = now
        self.healthy = True
        self.agents_error = 0
        self.last_success_ago = 600.0
        self.silent_for = 60.0
        self.failed_runs = 1
        self.at_work = True
        self.broken_dashboard = False
        self.version = "2026.824.1"
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = stub.answer(urlsplit(self.path).path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Stub:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str) -> tuple[int, Any]:
        """Return what the real server would say."""
        company = f"/api/companies/{COMPANY}"
        if path == "/api/health":
            if self.healthy:
                return 200, {"status": "ok", "version": self.version}
            return 503, {"status": "unhealthy", "error": "database_unreachable"}
        if path == "/api/companies":
            return 200, [{"id": COMPANY, "name": "Demo", "status": "active"}]
        if path == f"{company}/dashboard":
            return (200, {"agents": {}}) if self.broken_dashboard else (200, self._dashboard())
        if path == f"{company}/issues":
            return 200, [{"id": str(number), "status": "todo"} for number in range(66)]
        if path == f"{company}/heartbeat-runs":
            ended = times.iso_or_none(self.now() - self.last_success_ago)
            failed = {
                "status": "failed",
                "finishedAt": times.iso_or_none(self.now()),
                "errorCode": "no_cwd",
            }
            succeeded = {"status": "succeeded", "finishedAt": ended}
            return 200, [*[failed] * self.failed_runs, succeeded]
        if path == f"{company}/live-runs":
            run = {"status": "running", "agentName": "Founding Engineer"}
            running = [{**run, "lastOutputAt": times.iso_or_none(self.now() - self.silent_for)}]
            return 200, running if self.at_work else []
        return 404, {"error": "not found"}

    def _dashboard(self) -> dict[str, Any]:
        return {
            "companyId": COMPANY,
            "agents": {"active": 3, "running": 1, "paused": 0, "error": self.agents_error},
            "tasks": {"open": 70, "inProgress": 3, "blocked": 1, "done": 134},
            "pendingApprovals": 0,
        }
