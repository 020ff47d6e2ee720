"""What a declared runner offers to a job."""

from __future__ import annotations

from ..base.github.job_needs import Offer
from .settings import Mode, RunnerOptions

# Of the common CI image: the distribution's base, and what images/factory-base and images/ci add.
_IMAGE = "24.04"
_PROGRAMS = frozenset(
    (
        *("bash", "curl", "gh", "git", "jq", "node", "npm", "npx", "perl", "pnpm", "pnpx", "rg"),
        *("sh", "socat", "ssh", "tar", "unzip", "xz", "zstd"),
    )
)


def offer(options: RunnerOptions, architecture: str = "x64") -> Offer:
    """Return what jobs find on a runner that is declared like this."""
    if options.mode == Mode.NATIVE:
        return Offer(
            engine=bool(options.docker_socket_reason),
            root=not options.strict,
            architecture=architecture,
        )
    common = not options.image
    return Offer(
        engine=bool(options.docker_socket_reason),
        architecture=architecture,
        image=_IMAGE if common else "",
        programs=_PROGRAMS if common else None,
    )
