"""The container images that the factory builds: age, smoke test, presence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ...base import documents as kept_documents
from ...base import settings
from ...base.configuration import ConfigurationError
from ...base.github import settings as github
from ...base.ports import Request
from ...base.text import duration
from .. import readings
from ..check import Answer, AtLimit, Check, JudgeContext, Status, each
from ..facts import DAY, Fact, Known, Unknown
from ..limits import Limit
from ..sources import AbsentError, Host, Source, documents, listed

_PROBLEM_WIDTH = 300
AGE = Limit("image_age_days", "Age of an image of the factory.", raise_at=14, clear_at=14)


@dataclass(frozen=True)
class ImageState:
    """One container image that the factory builds, as the build wrote it down.

    ``presence`` is what the engine says now: there, gone, or another one of its name; it is
    empty where no engine is declared that could be asked.
    """

    name: str
    built_at: float
    base_built_at: float | None
    size_bytes: int
    smoke: str
    detail: str
    presence: str = ""


def read(host: Host) -> Mapping[str, Fact[ImageState]]:
    """Return the images that the factory builds."""
    directory = Path(host.policy.data_dir, "images")
    written = documents(directory)
    if not written and host.whole.has("images"):
        raise OSError(f"no image is built yet: {_problem(directory)}")
    if not written:
        raise AbsentError("no image of the factory is declared")
    found = dict(listed(written, lambda values, name: image(host, values, name)))
    for name in declared(host):
        found.setdefault(name, Unknown(f"{name} is declared, and no build of it is told of"))
    if not host.policy.engine_socket_path:
        return found
    there = _in_engine(host)
    return {
        name: replace(fact, value=replace(fact.value, presence=_presence(written[name], there)))
        if isinstance(fact, Known)
        else fact
        for name, fact in found.items()
    }


def names(host: Host) -> list[str]:
    """Return the images of which a build has told."""
    return list(documents(Path(host.policy.data_dir, "images")))


def declared(host: Host) -> list[str]:
    """Return the images that are to be built here; none where their sources are not there."""
    from ...images import catalogue
    from ...images.runner import RunnerArchive
    from ...images.settings import ImagesSettings

    if not host.whole.has("images"):
        return []
    section, own = host.whole.section("images"), github.of(host.whole)
    chosen = settings.read(ImagesSettings, section, github=own)
    # Which archive it is decides what is built, and not which images there are.
    archive = RunnerArchive("", "", "") if chosen.runner is not None else None
    try:
        return [spec.name for spec in catalogue.catalogue(chosen, archive)]
    except ConfigurationError:
        return []


def _problem(directory: Path) -> str:
    """Return why there is no base to build on, as far as a build has told."""
    from ...images.settings import PROBLEM

    kept = kept_documents.read(directory / PROBLEM) or {}
    words = str(kept.get("detail") or "no build has ended; factory images build tells how it goes")
    return " ".join(words.split())[:_PROBLEM_WIDTH]


def image(host: Host, values: Any, name: str) -> Fact[ImageState]:
    """Return one image, as its build wrote it down."""
    section = readings.section(values, name)
    found = ImageState(
        name=section.text("image", name),
        built_at=readings.time(section, "built_at"),
        base_built_at=readings.time_or_none(section, "base_built_at"),
        size_bytes=section.integer("size_bytes", 0, minimum=0),
        smoke=section.text("smoke", choices=("ok", "failed")),
        detail=section.text("detail", ""),
    )
    moments = [found.base_built_at]
    return host.written(found, found.built_at, f"the build of {name}", moments=moments)


def _in_engine(host: Host) -> Mapping[str, str]:
    """Return the factory's images that the engine has, by name, with the mark of their content."""
    from ...images.plan import CONTENT_LABEL
    from ...images.settings import PREFIX

    query = urlencode({"filters": json.dumps({"reference": [f"{PREFIX}/*:current"]})})
    request = Request("GET", f"http://engine/images/json?{query}")
    answer = host.engine(request, timeout_seconds=host.policy.gather_seconds / 2)
    if answer.status != 200:
        raise OSError(f"the engine does not tell its images: status {answer.status}")
    return {
        str(name): str((item.get("Labels") or {}).get(CONTENT_LABEL, ""))
        for item in json.loads(answer.body)
        for name in item.get("RepoTags") or ()
    }


def _presence(document: Fact[Any], there: Mapping[str, str]) -> str:
    record = document.value if isinstance(document, Known) else {}
    content = there.get(str(record.get("image")))
    if content is None:
        return "gone"
    return "there" if content == record.get("content", content) else "another"


def judge(images: Mapping[str, Fact[ImageState]], context: JudgeContext) -> Iterator[Answer]:
    """Judge whether an image is there, its age and the outcome of its smoke test."""

    def one(name: str, image: ImageState) -> Iterator[Answer]:
        days = (context.now - image.built_at) / DAY
        status, lingers = context.by(AGE, days)
        detail = f"built {duration(days * DAY)} ago"
        if image.smoke != "ok":
            status, detail = Status.PROBLEM, f"its smoke test failed: {image.detail}"
        if image.presence == "gone":
            status, detail = Status.PROBLEM, f"it is not in the engine any more; {detail}"
        elif image.presence == "another":
            status, detail = Status.PROBLEM, f"another image has its name; this one was {detail}"
        yield Answer(name, status, detail, round(days, 1), lingers)

    return each(images, one)


SOURCE = Source("images", read)
CHECKS = (
    Check(
        name="image",
        title="Images",
        advice="images builds them: converge the host",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(
            AGE,
            lambda days, now: {"i": Known(ImageState("i", now - days * DAY, None, 1, "ok", ""))},
        ),
    ),
)
