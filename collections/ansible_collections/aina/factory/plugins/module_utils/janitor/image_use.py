"""When an image was last used: the engine does not record it, so it is learned.

The engine remembers its newest 256 events, which are some dozen containers. A listener of its own
(``factory janitor --listen``) therefore hears of every container; each run of the janitor adds
what it sees.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base.docker import Container, Image


@dataclass
class ImageUse:
    """Per image the time it was first seen and last used, and when this was last learned."""

    first_seen: dict[str, float] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)
    learned_at: float | None = None

    def last_used(self, image_id: str) -> float | None:
        """Return the last known use; an image never seen in use counts from first sight."""
        return self.used.get(image_id, self.first_seen.get(image_id))


def learn(
    known: ImageUse,
    images: Iterable[Image],
    containers: Iterable[Container],
    events: Iterable[tuple[str, float]],
    now: float,
    *,
    store: str,
) -> ImageUse:
    """Return what is known after looking again; images that are gone are forgotten.

    In the containerd store an image's creation time is when it came to this host. Elsewhere
    it is when somebody built it, which says nothing about use here: first sight counts.
    """
    present = list(images)
    identity = {name: image.id for image in present for name in (*image.references, image.id)}
    used = dict(known.used)

    def note(image_id: str | None, at: float | None) -> None:
        if image_id is not None and at is not None:
            used[image_id] = max(used.get(image_id, 0.0), min(at, now))

    for container in containers:
        running = container.state not in ("exited", "dead", "created")
        times = (container.created_at, container.started_at, container.finished_at)
        note(container.image_id, now if running else max(at for at in times if at is not None))
    for name, at in events:
        note(identity.get(name, identity.get(f"{name}:latest")), at)
    ids = [image.id for image in present]
    arrived = {
        image.id: min(image.created_at, now) if store == "containerd" else now for image in present
    }
    return ImageUse(
        first_seen={
            image_id: known.first_seen.get(image_id, arrived[image_id]) for image_id in ids
        },
        used={image_id: used[image_id] for image_id in ids if image_id in used},
        learned_at=now,
    )


def together(one: ImageUse, other: ImageUse) -> ImageUse:
    """Return what either knows; of two times of use it is the later."""
    times = [at for at in (one.learned_at, other.learned_at) if at is not None]
    return ImageUse(
        {**other.first_seen, **one.first_seen},
        {
            image_id: max(one.used.get(image_id, 0.0), other.used.get(image_id, 0.0))
            for image_id in {**one.used, **other.used}
        },
        max(times, default=None),
    )


def load(text: str) -> ImageUse:
    """Read the state; what cannot be read counts as never seen, which protects every image."""
    try:
        document: Any = json.loads(text)
        learned_at = document["learned_at"]
        return ImageUse(
            _times(document["first_seen"]),
            _times(document["used"]),
            None if learned_at is None else float(learned_at),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return ImageUse()


def read(path: Path) -> ImageUse:
    """Read the state from a file; nothing is known where there is none.

    Raises:
        OSError: it is there and cannot be read.

    """
    try:
        return load(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return ImageUse()


def _times(mapping: Mapping[str, Any]) -> dict[str, float]:
    return {str(key): float(value) for key, value in mapping.items()}


def dump(use: ImageUse) -> str:
    """Write the state as text for ``load``."""
    return json.dumps(
        {"first_seen": use.first_seen, "learned_at": use.learned_at, "used": use.used},
        indent=1,
        sort_keys=True,
    )
