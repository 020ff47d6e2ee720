"""A model that is played: it does what the issue tells it to, line by line.

``run: COMMAND`` is one tool call, ``play: NAME`` one way to misbehave, ``helper: MODEL`` a call
for another agent that has a smaller model. What was asked, and with which key, is appended to
/srv/model/asked.jsonl.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

STATUSES = {"401", "403", "429", "400", "503"}


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = json.loads(body)
        with Path("/srv/model/asked.jsonl").open("a") as file:
            line = {
                "path": self.path,
                "headers": dict(self.headers),
                "bytes": len(body),
                "at": time.time(),
            }
            file.write(json.dumps({**line, "tools": request.get("tools")}) + "\n")
        if self.path.startswith("/v1/messages"):
            self.answer_message(request)
            return
        prompt = "\n".join(
            part.get("text", "")
            for item in request["input"]
            if item.get("role") == "user"
            for part in item["content"]
        )
        commands = re.findall(r"^run: (.*?)\s*$", prompt, re.MULTILINE)
        plays = re.findall(r"^play: (\S+)", prompt, re.MULTILINE)
        done = sum(item.get("type") == "function_call_output" for item in request["input"])
        for play in plays:
            if play in STATUSES and done >= len(commands):
                self.refuse(int(play))
                return
            if play == "hang" and done >= len(commands):
                time.sleep(600)
            if play == "malformed" and done >= len(commands):
                self.stream([b'data: {"type": "response.created"\n\n', b"nonsense\n\n"])
                return
            if play == "slow":
                time.sleep(2)
        usage = 1900 if "dear" in plays else 100
        if done < len(commands):
            item: dict[str, Any] = {
                "type": "function_call",
                "call_id": f"call-{done}",
                "name": "exec_command",
                "arguments": json.dumps({"cmd": commands[done], "yield_time_ms": 60000}),
            }
        else:
            words = "all done" + (" x" * 3_000_000 if "huge" in plays else "")
            item = {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": words}],
            }
        self.events(
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_item.done", "item": item},
            {
                "type": "response.completed",
                "response": {
                    "id": "r",
                    "usage": {"input_tokens": usage, "output_tokens": 7, "total_tokens": usage + 7},
                },
            },
        )

    def answer_message(self, request: dict[str, Any]) -> None:
        """Answer in the form of the other API: a tool call or the last words, in pieces."""
        parts = [
            part
            for message in request["messages"]
            if message["role"] == "user"
            for part in (
                [{"type": "text", "text": message["content"]}]
                if isinstance(message["content"], str)
                else message["content"]
            )
        ]
        prompt = "\n".join(part["text"] for part in parts if part["type"] == "text")
        calls = re.findall(r"^(run|helper): (.*?)\s*$", prompt, re.MULTILINE)
        done = sum(part["type"] == "tool_result" for part in parts)
        block: dict[str, Any] = {"type": "text", "text": ""}
        delta, reason = {"type": "text_delta", "text": "all done"}, "end_turn"
        if done < len(calls):
            kind, words = calls[done]
            name, asked = "Bash", {"command": words, "description": "Do what the issue says"}
            if kind == "helper":
                name, asked = "Agent", {"description": "Help", "prompt": "Help.", "model": words}
                asked["subagent_type"] = "general-purpose"
            block = {"type": "tool_use", "id": f"toolu_{done}", "name": name, "input": {}}
            delta, reason = (
                {"type": "input_json_delta", "partial_json": json.dumps(asked)},
                "tool_use",
            )
        start = {
            "id": f"msg_{done}",
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 30,
                "cache_creation_input_tokens": 40,
                "cache_read_input_tokens": 30,
                "output_tokens": 1,
            },
        }
        self.events(
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": None},
                "usage": {"output_tokens": 7},
            },
            {"type": "message_stop"},
        )

    def events(self, *events: dict[str, Any]) -> None:
        self.stream(
            [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
        )

    def stream(self, parts: list[bytes]) -> None:
        content = b"".join(parts)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def refuse(self, status: int) -> None:
        error = {"message": f"played {status}", "type": "played", "code": "played"}
        content = json.dumps({"error": error}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Registry(BaseHTTPRequestHandler):
    """Stands for a package registry that lanes may reach."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a package")


def serve(
    port: int,
    handler: type[BaseHTTPRequestHandler],
    address: str = "127.0.0.1",
    chain: Sequence[str] = ("/srv/model/ca.pem", "/srv/model/key.pem"),
) -> None:
    server = ThreadingHTTPServer((address, port), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*chain)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    Thread(target=serve, args=(9444, Registry), daemon=True).start()
    serve(9443, Model)
