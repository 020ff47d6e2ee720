"""What a declared runner offers to a job."""

from __future__ import annotations

from ..base.github.job_needs import COMMON_PROGRAMS, Offer
from .settings import Mode, RunnerOptions

_IMAGE = "24.04"  # the Ubuntu release of the common CI image


def offer(options: RunnerOptions, architecture: str = "x64") -> Offer:
    """Return what jobs find on a runner that is declared like this."""
    if options.mode == Mode.NATIVE:
        return Offer(
            engine=bool(options.docker_socket_reason),
            root=not options.strict,
            architecture=architecture,
            programs=None,
        )
    common = not options.image
    return Offer(
        engine=options.has_engine or bool(options.docker_socket_reason),
        architecture=architecture,
        image=_IMAGE if common else "",
        programs=COMMON_PROGRAMS if common else None,
    )
