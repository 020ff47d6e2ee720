"""Section ``images`` of the configuration: what the images are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..base import projects
from ..base.github.settings import GitHub
from ..base.settings import OPTIONAL_PATH, REQUIRED, setting, settings_of

PREFIX = "aina-factory"
# In the state directory: why there is no base.
PROBLEM = "problem"
_VERSION = (r"\d+(\.\d+){0,2}", 'be a version such as "22" or "10.11.0", in quotes')


@dataclass(frozen=True)
class Toolchain:
    """Tools that a project asks for by version; anything else is a Dockerfile's business."""

    node: str | None = setting(None, "Version of Node.", form=_VERSION)
    npm: str | None = setting(None, "Version of npm.", form=_VERSION)
    pnpm: str | None = setting(None, "Version of pnpm.", form=_VERSION)
    yarn: str | None = setting(None, "Version of yarn.", form=_VERSION)

    @property
    def versions(self) -> dict[str, str]:
        """The versions that are asked for, by tool."""
        return {
            item.key: version
            for item in settings_of(Toolchain)
            if (version := getattr(self, item.key)) is not None
        }


@dataclass(frozen=True)
class BaseImage:
    """What everything is built on: an image of a registry, or one made here."""

    image: str = setting(
        "",
        "Its name and tag, pulled from its registry unless `bootstrap_suite` is given. When empty"
        " `ubuntu:24.04`, or a name of the factory's own for one that is made here.",
        form=("[a-z0-9][a-z0-9._/:-]*:[A-Za-z0-9._-]+", "be an image with its tag"),
    )
    bootstrap_suite: str = setting(
        "",
        "A Debian release, such as `trixie`, of whose packages the base is made where no registry"
        " is used.",
        form=("[a-z]+", "be a Debian release such as trixie"),
    )
    bootstrap_mirror: str = setting(
        "",
        "The archive that those packages come from; the one that the host's apt uses when empty.",
    )

    @property
    def reference(self) -> str:
        made_here = f"{PREFIX}/base:{self.bootstrap_suite}" if self.bootstrap_suite else ""
        return self.image or made_here or "ubuntu:24.04"


@dataclass(frozen=True)
class RunnerRelease:
    """The runner's release that the CI image holds."""

    version: str = setting(
        REQUIRED,
        "A version such as `2.336.0`, or `latest` for the newest one at each weekly rebuild.",
        form=(r"latest|\d+\.\d+\.\d+", "be latest or a version such as 2.336.0"),
    )
    sha256: str = setting(
        "",
        "What the archive's bytes must be, where GitHub states no digest or `archive_path` is"
        " given.",
        form=("[0-9a-f]{64}", "be a SHA-256 in hexadecimal, or empty"),
    )
    archive_path: str = setting(
        "", "The archive on the host, where it is not to be fetched from GitHub.", kind="path"
    )
    cache_dir: str = setting(
        "/var/cache/aina-factory/runner",
        "Where fetched archives are kept on the host.",
        kind="path",
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield an archive of which nobody says what it is."""
        if self.archive_path and (self.version == "latest" or not self.sha256):
            yield "archive_path", "come with the version and the sha256 that say what the file is"


@dataclass(frozen=True)
class ProjectImages:
    """What one project's images hold beside the common ones."""

    name: str = setting(REQUIRED, "The project.", form=projects.NAME_FORM)
    toolchain: Toolchain = setting(Toolchain(), "Tools that it asks for by version.")
    agent: str = setting(
        "",
        "The agent of its lanes.",
        form=("[a-z0-9][a-z0-9-]*", "be lower-case letters, digits and dashes, or empty"),
    )


@dataclass(frozen=True)
class ImagesSettings:
    """What the images are made of, and how they are built."""

    github: GitHub = field(default_factory=GitHub)
    base: BaseImage = setting(BaseImage(), "What everything is built on.")
    build_network: str = setting(
        "default",
        "Which network a build uses, the engine's own or the host's.",
        choices=("default", "host"),
    )
    build_timeout_minutes: float = setting(
        60, "How long the build of one image may take.", minimum=1, maximum=1440
    )
    ca_file: str = setting(
        "/etc/ssl/certs/ca-certificates.crt",
        "A file on the host with the certificate authorities that a build trusts; no layer keeps"
        " them. Empty for none.",
        form=OPTIONAL_PATH,
    )
    npmrc_file: str = setting(
        "",
        "An npmrc on the host that names the registry and logs in to it; no layer keeps it. Empty"
        " for npm's own settings.",
        kind="path",
    )
    engine: bool = setting(
        False,
        "Whether the CI image holds rootless Podman, for runners with `engine: podman`.",
        expression="{{ factory_projects | default([]) | selectattr('runner.engine', 'defined')"
        " | selectattr('runner.engine', 'equalto', 'podman') | list | length > 0 }}",
    )
    runner: RunnerRelease | None = setting(
        None,
        "The runner's release that the CI image holds; without one there is no CI image.",
        expression="{{ {'version': 'latest'} if factory_projects | default([])"
        " | selectattr('runner', 'defined') else none }}",
    )
    source_dir: str = setting(
        "/usr/local/share/aina-factory/images",
        "Where the images' sources lie.",
        kind="path",
        by="role",
    )
    state_dir: str = setting(
        "/var/lib/aina-factory/images",
        "Where it is recorded which images there are.",
        kind="path",
        by="role",
    )
    projects: tuple[ProjectImages, ...] = setting(
        (),
        "The projects; those with tools, an agent or a directory of their own get images of their"
        " own.",
        unique=("name",),
        by="role",
    )

    @property
    def build_timeout_seconds(self) -> float:
        """How long the build of one image may take."""
        return 60 * self.build_timeout_minutes
