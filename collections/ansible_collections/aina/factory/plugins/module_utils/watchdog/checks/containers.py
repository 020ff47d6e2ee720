"""Whether each declared image still starts: by the hourly proof, which starts one of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .. import proofs, readings
from ..check import Answer, BadOrGood, Check, JudgeContext, Status, each
from ..facts import Fact, Known, Unknown
from ..sources import AbsentError, Host, Source, told
from .images import declared, names


@dataclass(frozen=True)
class StartedImage:
    """How the last container of an image fared that was created and started without a network."""

    name: str
    started: bool
    detail: str = ""


def read(host: Host) -> Mapping[str, Fact[StartedImage]]:
    """Return the last proof of every image that the factory builds here."""
    if not host.policy.engine_socket_path:
        raise AbsentError("no engine is declared (engine_socket_path)")
    wanted = sorted({*names(host), *declared(host)})
    if not wanted:
        raise AbsentError("no image of the factory is declared")
    document = proofs.read(host)
    if isinstance(document, Unknown):
        return dict.fromkeys(wanted, document)
    section = readings.section(document.value, "proofs")
    tried = {item.text("name"): item for item in section.sections("images", ())}

    def one(name: str) -> Fact[StartedImage]:
        if name not in tried:
            raise OSError(f"the last proof did not try {name}")
        item = tried[name]
        found = StartedImage(name, item.boolean("started"), item.text("detail", ""))
        return Known(found, document.as_of, document.by)

    return {name: told(lambda name=name: one(name)) for name in wanted}  # type: ignore[misc]


def judge(images: Mapping[str, Fact[StartedImage]], _context: JudgeContext) -> Iterator[Answer]:
    """Report every image of which no container starts."""

    def one(name: str, image: StartedImage) -> Iterator[Answer]:
        if image.started:
            yield Answer(name, Status.OK, "a container of it was created and ran")
        else:
            yield Answer(name, Status.PROBLEM, f"no container of it runs: {image.detail}")

    return each(images, one)


SOURCE = Source("containers", read)
CHECKS = (
    Check(
        name="container_start",
        title="Containers start",
        advice="docker run --rm --network none IMAGE true; then journalctl -u docker",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, _now: {"i": Known(StartedImage("i", not bad, "x"))}),
        severity="critical",
        raise_after=(1, 1),
        other_limits=(proofs.AGE,),
    ),
)
