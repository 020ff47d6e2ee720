"""Send what waits: messages through apprise, the sign of life to the outside watcher."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from factory.core.base.ports import Fetch, Request, Run
from factory.core.watchdog.messages import (
    Message,
    Outbox,
    addresses,
    after_attempt,
    digest,
    is_complete,
    redact,
)
from factory.core.watchdog.settings import Notify

_PROGRAM = "apprise"


def deliver(outbox: Outbox, notify: Notify, run: Run, private_dir: Path) -> Outbox:
    """Send every waiting message to every address that does not have it yet.

    An address at which one message fails is not tried again in this run.
    """
    left: list[Message] = []
    for urgent, path in ((False, notify.apprise_path), (True, notify.urgent_path)):
        waiting = [message for message in outbox.messages if message.urgent is urgent]
        if path and waiting:
            left += _delivered(waiting, path, notify, run, private_dir)
        # Without an address nobody waits for them.
    return Outbox(tuple(sorted(left, key=lambda item: item.at)), outbox.dropped if left else 0)


def _delivered(
    waiting: Sequence[Message], path: str, notify: Notify, run: Run, private_dir: Path
) -> list[Message]:
    """Return the messages that not every address of a file has yet, after trying them all."""
    try:
        chosen = addresses(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        return _all_failed(waiting, f"{path}: {error.strerror}")
    if not chosen:
        return _all_failed(waiting, f"{path} holds no address")
    names = {digest(address): address for address in chosen}
    broken: dict[str, str] = {}
    left = []
    for message in waiting:
        results = {}
        for name, address in names.items():
            if name in message.delivered:
                continue
            if name not in broken:
                problem = _send(message, address, notify, run, private_dir)
                if problem:
                    broken[name] = redact(problem, chosen)
            results[name] = broken.get(name, "")
        tried = after_attempt(message, results)
        if not is_complete(tried, names):
            left.append(tried)
    return left


def _all_failed(waiting: Sequence[Message], error: str) -> list[Message]:
    return [after_attempt(message, {"": error}) for message in waiting]


def _send(message: Message, address: str, notify: Notify, run: Run, private_dir: Path) -> str:
    """Return "" or what went wrong. The address reaches the program by a file of one line."""
    private_dir.mkdir(parents=True, exist_ok=True)
    file = private_dir / f".apprise.{os.getpid()}"
    try:
        file.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(file, flags, 0o600), "w", encoding="utf-8") as opened:
            opened.write(f"{address}\n")
        argv = [_PROGRAM, "--config", str(file), "--title", message.title]
        done = run(
            argv,
            stdin=message.body.encode("utf-8", "replace"),
            environment={"LC_ALL": "C.UTF-8"},
            timeout_seconds=notify.timeout_seconds,
        )
    except FileNotFoundError:
        return f"{_PROGRAM} is not installed"
    except (OSError, TimeoutError) as error:
        return f"{_PROGRAM}: {error}"
    finally:
        file.unlink(missing_ok=True)
    if done.ok:
        return ""
    words = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
    return f"{_PROGRAM} ended with {done.returncode}: {words[-1] if words else 'no words'}"


def give_sign_of_life(notify: Notify, fetch: Fetch, *, failed: bool = False) -> str:
    """Tell the outside watcher that a run was completed; return "" or what went wrong."""
    try:
        found = addresses(Path(notify.dead_man_path).read_text(encoding="utf-8"))
    except OSError as error:
        return f"{notify.dead_man_path}: {error.strerror}"
    if not found:
        return f"{notify.dead_man_path} holds no address"
    errors = [
        _ping(address, found, fetch, notify.timeout_seconds, failed=failed) for address in found
    ]
    return "; ".join(filter(None, errors))


def _ping(
    address: str, secrets: Sequence[str], fetch: Fetch, limit_seconds: float, *, failed: bool
) -> str:
    url = f"{address.rstrip('/')}/fail" if failed else address
    try:
        answer = fetch(Request("GET", url), timeout_seconds=limit_seconds)
    except OSError as error:
        return redact(str(error), secrets)
    return "" if answer.status < 300 else f"it answers with status {answer.status}"
