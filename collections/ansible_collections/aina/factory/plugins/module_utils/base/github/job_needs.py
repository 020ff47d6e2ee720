"""What a workflow's job needs of the machine that runs it, and whether a runner offers that; pure.

A job is read as plain data, as any YAML reader gives it. What cannot be told is a need of its
own, so that nobody takes it for "nothing is needed".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from .known_actions import ENGINE_ACTIONS, PROGRAMS_OF_ACTIONS, ROOT_ACTIONS

# Whose author need not be one who may write: what starts them is somebody's comment, issue or fork.
FOREIGN_EVENTS = frozenset(
    (
        *("discussion", "discussion_comment", "fork", "issue_comment", "issues", "watch"),
        *("pull_request_target", "workflow_run"),
    )
)
_TEXT_MAX_CHARACTERS = 200_000
_SHOWN_MAX_CHARACTERS = 60
# Where a shell looks for a program: at the beginning of a command.
_COMMAND = re.compile(
    r"(?:^|[;&|()`{])[ \t]*"
    r"(?:(?:if|then|elif|else|while|until|do|exec|time|xargs|env|nice|nohup|!)[ \t]+"
    r"|[A-Za-z_]\w*=\S*[ \t]+)*"
    r"(?P<word>[A-Za-z][\w.+-]*)(?=[\s;&|)`]|\Z)(?P<rest>[^\n;&|)]*)",
    re.MULTILINE,
)
_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#[^\n]*", re.MULTILINE)
_CONTINUED = re.compile(r"\\\r?\n")
_ENGINE_PROGRAMS = frozenset(
    (
        *("act", "buildah", "devcontainer", "docker", "docker-compose", "earthly", "k3d", "kind"),
        *("minikube", "nerdctl", "podman", "skaffold"),
    )
)
_ROOT_PROGRAMS = frozenset(
    (
        *("adduser", "apk", "apt", "apt-get", "chroot", "dnf", "insmod", "iptables", "losetup"),
        *("modprobe", "mount", "pacman", "service", "snap", "su", "sudo", "systemctl", "umount"),
        *("update-alternatives", "useradd", "yum", "zypper"),
    )
)
# They run the command that follows their own words.
_WRAPPERS = frozenset(
    (
        *("bash", "chronic", "env", "flock", "ionice", "nice", "nohup", "parallel"),
        *("retry", "sem", "setsid", "sh", "stdbuf", "strace", "time", "timeout", "unbuffer"),
        *("watch", "xargs", "xvfb-run", "dbus-run-session", "catchsegv", "faketime", "script"),
    )
)
_ROOT_WORDS = re.compile(r"\bplaywright\s+install(?:-deps\b|[^\n;&|]*--with-deps\b)")
# What GitHub's own images have and a slim image may lack.
_HOSTED_PROGRAMS = frozenset(
    (
        *("R", "Rscript", "ansible", "ansible-playbook", "autoconf", "automake", "aws", "az"),
        *("bazel", "bison", "brew", "bundle", "c++", "cabal", "cargo", "cc", "chromedriver"),
        *("chromium", "clang", "clang++", "cmake", "composer", "conda", "ctest", "dotnet", "flex"),
        *("g++", "gcc", "gcloud", "gem", "ghc", "go", "google-chrome", "gradle", "helm", "java"),
        *("javac", "julia", "kubectl", "lerna", "m4", "make", "meson", "mvn", "mysql", "ninja"),
        *("packer", "perl", "pg_ctl", "php", "pip", "pip3", "pipx", "pkg-config", "psql", "pulumi"),
        *("pwsh", "python", "python3", "rake", "redis-server", "rsync", "ruby", "rustc", "rustup"),
        *("sbt", "shellcheck", "sqlite3", "stack", "swift", "terraform", "tox", "wget", "xvfb-run"),
        *("yamllint", "yarn", "yq", "zip"),
    )
)
# What the common CI image holds: the distribution's base, and what images/factory-base and images/ci add.
COMMON_PROGRAMS = frozenset(
    (
        *("bash", "c++", "cc", "curl", "file", "g++", "gcc", "gh", "git", "jq", "make", "node"),
        *("npm", "npx", "perl", "pip", "pip3", "pipx", "pkg-config", "pnpm", "pnpx", "python"),
        *("python3", "rg", "rsync", "sh", "shellcheck", "socat", "sqlite3", "ssh", "tar", "unzip"),
        *("wget", "xz", "zip", "zstd"),
    )
)
_SHELLS = {"pwsh": "pwsh", "powershell": "powershell", "cmd": "cmd", "python": "python"}
_OTHER_SYSTEM = re.compile(r"(?:.*-)?(macos|windows|mac|win)(?:-|\d|\Z)", re.IGNORECASE)
_UBUNTU = re.compile(r"ubuntu-(\d\d\.\d\d)\Z", re.IGNORECASE)
_ARM = re.compile(r"(?:^|[-_])(?:arm|arm64|aarch64)(?:$|[-_])", re.IGNORECASE)


class Kind(StrEnum):
    """What a machine has or has not."""

    ENGINE = "engine"
    ROOT = "root"
    SYSTEM = "system"
    ARCHITECTURE = "architecture"
    IMAGE = "image"
    PROGRAM = "program"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Need:
    """One thing that a job needs, ``what`` of its kind, and the ``why`` as a part of a sentence."""

    kind: Kind
    what: str
    why: str


@dataclass(frozen=True)
class Offer:
    """What a runner offers. ``image`` is its Ubuntu release, and ``programs`` what its image holds.

    An empty ``image`` and ``programs`` of ``None`` mean that nobody has declared them. Without a
    word it is a fresh container of the common CI image.
    """

    engine: bool = False
    root: bool = False
    architecture: str = "x64"
    image: str = ""
    programs: frozenset[str] | None = COMMON_PROGRAMS

    def also(self, names: Iterable[str]) -> Offer:
        """Return the same with what somebody declares beyond: ``engine``, ``sudo``, programs."""
        more = frozenset(names)
        return replace(
            self,
            engine=self.engine or "engine" in more,
            root=self.root or "sudo" in more,
            programs=None if self.programs is None else self.programs | more,
        )

    def lacks(self, needs: Iterable[Need]) -> list[str]:
        """Return one part of a sentence for each need that is not met."""
        return list(dict.fromkeys(words for need in needs if (words := self._lacks(need))))

    def _lacks(self, need: Need) -> str:
        if need.kind is Kind.ENGINE:
            return "" if self.engine else f"{need.why}, and the runner has no container engine"
        if need.kind is Kind.ROOT:
            return "" if self.root else f"{need.why}, and nobody is root on the runner"
        if need.kind is Kind.SYSTEM:
            return f"{need.why}, and the runner is Linux"
        if need.kind is Kind.ARCHITECTURE:
            same = need.what == self.architecture
            return "" if same else f"{need.why}, and the runner is {self.architecture}"
        if need.kind is Kind.IMAGE:
            same = self.image in ("", need.what)
            return "" if same else f"{need.why}, and the runner's image is Ubuntu {self.image}"
        if need.kind is Kind.PROGRAM:
            has = self.programs is None or need.what in self.programs
            return "" if has else f"{need.why}, which the runner's image does not hold"
        return need.why


def needs_of(
    job: Mapping[str, Any],
    workflow: Mapping[str, Any] | None = None,
    actions: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> list[Need]:
    """Return what a job needs beyond a shell on some Linux; its ``runs-on`` is asked apart.

    ``actions``: the ``action.yml`` of the repository's own actions by their path (``./x``);
    an action that is not among them, or is ``None``, cannot be told.
    """
    return list(dict.fromkeys(_needs(job, workflow or {}, actions or {})))


def needs_of_label(label: str) -> list[Need]:
    """Return what the label of a hosted runner says about the machine."""
    shown = label[:_SHOWN_MAX_CHARACTERS]
    other = _OTHER_SYSTEM.match(label)
    if other:
        return [Need(Kind.SYSTEM, other[1].lower(), f"it asks for {shown}")]
    found = []
    if _ARM.search(label):
        found.append(Need(Kind.ARCHITECTURE, "arm64", f"it asks for {shown}"))
    release = _UBUNTU.match(label)
    if release:
        found.append(Need(Kind.IMAGE, release[1], f"it asks for {shown}"))
    return found


def foreign_events(events: Iterable[str]) -> list[str]:
    """Return those events that people start who need not be trusted."""
    return sorted(set(events) & FOREIGN_EVENTS)


def _needs(
    job: Mapping[str, Any],
    workflow: Mapping[str, Any],
    actions: Mapping[str, Mapping[str, Any] | None],
) -> Iterator[Need]:
    for key in ("container", "services"):
        if job.get(key):
            yield Need(Kind.ENGINE, key, f"it has '{key}'")
    # In a container of its own a job finds its programs, and may be root.
    is_contained = bool(job.get("container"))
    given: set[str] = set()
    for where in (workflow, job):
        defaults = where.get("defaults")
        run = defaults.get("run") if isinstance(defaults, Mapping) else None
        if isinstance(run, Mapping):
            yield from _of_shell(run.get("shell"), given)
    for need in _of_steps(_mappings(job.get("steps")), given, actions, depth=0):
        if not is_contained or need.kind not in (Kind.ROOT, Kind.PROGRAM):
            yield need


def _of_steps(
    steps: Iterable[Mapping[str, Any]],
    given: set[str],
    actions: Mapping[str, Mapping[str, Any] | None],
    *,
    depth: int,
) -> Iterator[Need]:
    for step in steps:
        if isinstance(step.get("uses"), str):
            yield from _of_action(step["uses"], actions, given, depth=depth)
        yield from _of_shell(step.get("shell"), given)
        if isinstance(step.get("run"), str):
            yield from _of_script(step["run"], given)


def _of_action(
    uses: str, actions: Mapping[str, Mapping[str, Any] | None], given: set[str], *, depth: int
) -> Iterator[Need]:
    shown = uses[:_SHOWN_MAX_CHARACTERS]
    if uses.startswith("docker://"):
        yield Need(Kind.ENGINE, "docker", f"it uses {shown}")
        return
    if uses.startswith("./"):
        content = actions.get(uses.rstrip("/"))
        runs = content.get("runs") if isinstance(content, Mapping) else None
        if not isinstance(runs, Mapping) or depth > 4:
            yield Need(Kind.UNKNOWN, uses, f"nobody knows what its action {shown} needs")
        elif str(runs.get("using", "")).lower() == "docker":
            yield Need(Kind.ENGINE, "docker", f"its action {shown} is an image")
        else:
            yield from _of_steps(_mappings(runs.get("steps")), given, actions, depth=depth + 1)
        return
    name = _action(uses)
    given |= set(PROGRAMS_OF_ACTIONS.get(name, ()))
    owner = name.partition("/")[0]
    repository = "/".join(name.split("/")[:2])
    if {name, repository, f"{owner}/*"} & ENGINE_ACTIONS:
        yield Need(Kind.ENGINE, "docker", f"it uses {name}")
    if {name, repository, f"{owner}/*"} & ROOT_ACTIONS:
        yield Need(Kind.ROOT, "root", f"it uses {name}")


def _of_shell(shell: Any, given: set[str]) -> Iterator[Need]:
    program = _SHELLS.get(str(shell or "").partition(" ")[0])
    if program in ("powershell", "cmd"):
        yield Need(Kind.SYSTEM, "windows", f"its shell is {program}")
    elif program and program not in given:
        yield Need(Kind.PROGRAM, program, f"its shell is {program}")


def _of_script(script: str, given: set[str]) -> Iterator[Need]:
    text = script[:_TEXT_MAX_CHARACTERS]
    if len(script) > len(text):
        yield Need(Kind.UNKNOWN, "script", "a script of it is too long to be read")
    text = _COMMENT.sub("", _CONTINUED.sub(" ", text))
    if found := _ROOT_WORDS.search(text):
        yield Need(Kind.ROOT, "root", f"it runs '{' '.join(found[0].split())}'")
    for command in _COMMAND.finditer(text):
        word, rest = command["word"], command["rest"].split()
        # A question whether a program is there is none after it.
        if word in ("command", "which", "type", "echo", "printf"):
            continue
        said = f"it runs '{' '.join((word, *rest[:2]))[:_SHOWN_MAX_CHARACTERS]}'"
        behind = [w for w in rest if not w.startswith("-")]
        # Of a wrapper, any of the words may be the command.
        run = behind[:1] if word == "sudo" else behind if word in _WRAPPERS else []
        programs = [word, *(text.strip("'\"") for text in run)]
        for program in programs:
            if program in _ROOT_PROGRAMS:
                yield Need(Kind.ROOT, "root", said)
            if program in _ENGINE_PROGRAMS:
                yield Need(Kind.ENGINE, program, said)
            if program in _HOSTED_PROGRAMS and program not in given:
                yield Need(Kind.PROGRAM, program, f"it runs {program}")


def _action(uses: Any) -> str:
    """Return an action's name without its version; "" for what is none."""
    return uses.partition("@")[0].lower() if isinstance(uses, str) else ""


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
