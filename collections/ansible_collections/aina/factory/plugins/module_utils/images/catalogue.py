"""Which images there are, in the order in which they are built."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..base.configuration import ConfigurationError
from .runner import RunnerArchive
from .settings import PREFIX, ImagesSettings, ProjectImages

FOUNDATION = "factory-base"
CI = "ci"
LANE = "lane"
# What is built on the foundation, and needs nothing but its own directory.
PINS = "package.json"
# Below it each project has the files that it brings.
PROJECTS = "projects"
_LABEL = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
AGENTS = "AGENTS.md"
_PLAIN = (LANE,)
_KINDS = (CI, *_PLAIN)


@dataclass(frozen=True)
class Artifact:
    """A file that joins the build's context under ``name`` if it has exactly these bytes."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Spec:
    """One image: what it is made of and what it has to prove.

    ``parent`` is the name of another image of ours, or empty for the base. ``smoke`` are
    scripts that run in the finished image, its ancestors' first, with ``expected`` as
    environment. ``is_foreign``: its Dockerfile is a project's, which knows nothing of users.
    """

    name: str
    context: str
    parent: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    smoke: tuple[str, ...] = ()
    expected: Mapping[str, str] = field(default_factory=dict)
    is_foreign: bool = False

    @property
    def repository(self) -> str:
        """Its name at the engine, without a tag."""
        return f"{PREFIX}/{self.name}"

    @property
    def current(self) -> str:
        """The name of the one in force."""
        return f"{self.repository}:current"

    @property
    def previous(self) -> str:
        """The name of the one that was in force before, to which one can go back."""
        return f"{self.repository}:previous"


def read_pins(source_dir: str, directory: str = FOUNDATION) -> dict[str, str]:
    """Return the versions that the directory's ``package.json`` pins, by tool.

    Raises:
        ConfigurationError: the file is missing or not what it should be.

    """
    path = Path(source_dir, directory, PINS)
    try:
        document = json.loads(path.read_bytes())
        packages = {**document["dependencies"], **document.get("optionalDependencies", {})}
        return {_tool(package): str(version) for package, version in packages.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path}: {error}; converge the host again") from None


def _tool(package: str) -> str:
    """Return the tool that a package brings: those of a scope or for one machine name it, too."""
    return package.rpartition("/")[2].partition("-linux-")[0]


def satisfied(wanted: str, pinned: str) -> bool:
    """Whether the pinned version is one of those that are wanted: 22 is any 22.x.y."""
    return pinned == wanted or pinned.startswith(f"{wanted}.")


def catalogue(settings: ImagesSettings, runner: RunnerArchive | None) -> list[Spec]:
    """Return all images, each after the one it is built on; without a ``runner`` none for CI.

    Raises:
        ConfigurationError: the images' sources are not on this host.

    """
    pins = read_pins(settings.source_dir)
    specs = {FOUNDATION: _spec(settings, FOUNDATION, None, expected=pins)}
    foundation = specs[FOUNDATION]
    if runner is not None:
        specs[CI] = _spec(
            settings,
            CI,
            foundation,
            arguments={"ENGINE": "podman"} if settings.engine else {},
            artifacts=(Artifact("runner.tar.gz", runner.path, runner.sha256),),
            expected={
                **pins,
                "runner": runner.version,
                **({"engine": "podman"} if settings.engine else {}),
            },
        )
    for name in _PLAIN:
        if Path(settings.source_dir, name, "Dockerfile").is_file():
            has_own = Path(settings.source_dir, name, PINS).is_file()
            own = read_pins(settings.source_dir, name) if has_own else {}
            specs[name] = _spec(settings, name, foundation, expected={**pins, **own})
    for project in settings.projects:
        for kind in _KINDS:
            if kind in specs:
                specs |= {
                    spec.name: spec for spec in _of_project(settings, project, kind, specs[kind])
                }
    return list(specs.values())


def _spec(
    settings: ImagesSettings,
    name: str,
    parent: Spec | None,
    *,
    directory: str = "",
    arguments: Mapping[str, str] | None = None,
    artifacts: tuple[Artifact, ...] = (),
    expected: Mapping[str, str] | None = None,
) -> Spec:
    context = Path(settings.source_dir, directory or name)
    own = context / "smoke.sh"
    is_foreign = directory.startswith(f"{PROJECTS}/")
    return Spec(
        name=name,
        context=str(context),
        parent=parent.name if parent else "",
        arguments=dict(arguments or {}),
        artifacts=artifacts,
        smoke=(*(parent.smoke if parent else ()), *([str(own)] if own.is_file() else [])),
        expected=dict(expected if expected is not None else parent.expected if parent else {}),
        is_foreign=is_foreign,
    )


def _of_project(
    settings: ImagesSettings, project: ProjectImages, kind: str, parent: Spec
) -> list[Spec]:
    """Return the images of one project: its agent, its tools, its own Dockerfile, its AGENTS.md.

    The last of them carries the project's name; the ones below it say what they add.
    """
    own = f"{PROJECTS}/{project.name}"
    asked = {
        tool: version
        for tool, version in sorted(project.toolchain.versions.items())
        if not satisfied(version, parent.expected.get(tool, ""))
    }
    has_own = Path(settings.source_dir, own, "Dockerfile").is_file()
    agents = Path(settings.source_dir, own, AGENTS)
    agent = f"agents/{project.agent}"
    steps: list[tuple[str, str, Mapping[str, str], tuple[Artifact, ...]]] = []
    if kind == LANE and project.agent and Path(settings.source_dir, agent, "Dockerfile").is_file():
        steps.append(("agent", agent, {}, ()))
    if asked or (project.toolchain.versions and not has_own):
        upper = {tool.upper(): version for tool, version in asked.items()}
        steps.append(("toolchain", "toolchain", upper, ()))
    if has_own:
        steps.append(("own", own, {}, ()))
    if kind == LANE and agents.is_file():
        digest = hashlib.sha256(agents.read_bytes()).hexdigest()
        steps.append(("agents", "lane-agents", {}, (Artifact(AGENTS, str(agents), digest),)))
    found: list[Spec] = []
    for index, (suffix, directory, arguments, artifacts) in enumerate(steps):
        is_last = index == len(steps) - 1
        found.append(
            _spec(
                settings,
                f"{project.name}-{kind}{'' if is_last else f'-{suffix}'}",
                found[-1] if found else parent,
                directory=directory,
                arguments=arguments,
                artifacts=artifacts,
                expected={**parent.expected, **asked},
            )
        )
    if kind == CI:
        below = found[-1] if found else parent
        found += [
            _spec(settings, ci_image(project.name, label), below, directory=f"{own}/ci-{label}")
            for label in _labels(Path(settings.source_dir, own))
        ]
    return found


def ci_image(project: str, label: str) -> str:
    """Return the name of the image that a project's jobs of one label get."""
    return f"{project}-{CI}_{label.lower()}"


def _labels(directory: Path) -> list[str]:
    """Return the labels for which a project has an image of its own."""
    found = (path.parent.name.removeprefix("ci-") for path in directory.glob("ci-*/Dockerfile"))
    return sorted(label for label in found if _LABEL.fullmatch(label))
