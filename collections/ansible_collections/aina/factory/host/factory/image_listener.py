"""Hear from the engine which images containers start from, and write it down at once.

The engine forgets: after some dozen containers nobody can tell any more when an image was used.
Started anew, the listener asks for what it has missed, as far as the engine still knows it.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode

from factory import effects
from factory.core.base import files
from factory.core.base.docker import DockerError, Engine
from factory.core.janitor import image_use
from factory.core.janitor.image_use import ImageUse
from factory.core.janitor.settings import Janitor
from factory.outcome import Exit, Outcome
from factory.unix_http import Connection, fetch_through

_PAUSE_SECONDS = 15.0
_LINE_BYTES = 1 << 20
# The same image again within this time is not worth a write.
_APART_SECONDS = 1.0
# Images that were not heard of for so long say nothing to any limit.
_FORGOTTEN_SECONDS = 400 * 86400.0


def listen(policy: Janitor, pause: Callable[[float], None] = time.sleep) -> Outcome:
    """Listen for as long as the janitor looks after the engine; an engine that is down is waited for.

    Raises:
        OSError: what was heard cannot be written down.

    """
    path, socket_path = Path(policy.image_heard_path), policy.docker.socket_path
    while policy.docker.enabled:
        with suppress(DockerError, ConnectionError, FileNotFoundError, http.client.HTTPException):
            hear(path, socket_path)
        # It is down, or was restarted.
        pause(_PAUSE_SECONDS)
    return Outcome(Exit.DONE, {}, "the janitor does not look after the engine")


def hear(path: Path, socket_path: str) -> None:
    """Write down what the engine tells until it ends the answer.

    Raises:
        DockerError: the engine cannot be asked.
        OSError: it cannot be reached, or what was heard cannot be written down.

    """
    engine = Engine(fetch_through(socket_path), socket_path)
    known = image_use.read(path)
    for name, at in _events(socket_path, known.learned_at or 1.0):
        found = engine.find(f"/images/{quote(name, safe='')}/json")
        if found is None:
            continue  # it is gone already
        image_id = str(found["Id"])
        before = known.used.get(image_id)
        known = _noted(known, image_id, at)
        if before is None or at - before >= _APART_SECONDS:
            files.write(path, image_use.dump(known).encode(), 0o600)


def _noted(known: ImageUse, image_id: str, at: float) -> ImageUse:
    used = {**known.used, image_id: max(at, known.used.get(image_id, 0.0))}
    since = effects.now() - _FORGOTTEN_SECONDS
    used = {image: time_ for image, time_ in used.items() if time_ > since}
    return ImageUse({}, used, max(at, known.learned_at or 0.0))


def _events(socket_path: str, since: float) -> Iterator[tuple[str, float]]:
    """Yield (image, time) of each container that is made, starts or ends."""
    filters = json.dumps({"type": ["container"], "event": ["create", "start", "die"]})
    # Without a time limit: nothing may happen for days. The kernel tells when the engine ends.
    connection = Connection(socket_path, None)
    try:
        query = urlencode({"since": f"{since:.9f}", "filters": filters})
        connection.request("GET", f"/events?{query}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise DockerError(f"the Docker engine answered {answer.status} to /events")
        while line := answer.readline(_LINE_BYTES):
            try:
                event = json.loads(line)
                name = str(event["Actor"]["Attributes"]["image"])
                at = float(event.get("timeNano", 0)) / 1e9 or float(event["time"])
            except (ValueError, LookupError, TypeError, AttributeError):
                continue
            yield name, at
    finally:
        connection.close()
