"""Contracts of the repository's documents and files."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from gates.tree import COLLECTION, ROOT, files, report, require

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE
)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
# Everything outside of the checkout that would work on one machine alone. Escapes keep
# these lines from matching themselves.
TRACES = {
    "a home directory of macOS": re.compile(r"/Users/[a-z]"),
    "the host of a package registry": re.compile(
        r"\bpypi\.org|pythonhosted\.org|registry\.npmjs\.org|galaxy\.ansible\.com"
    ),
}


def _slug(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def _anchors(path: Path) -> set[str]:
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", path.read_text())):
        slug, count = _slug(heading), 0
        while (slug if not count else f"{slug}-{count}") in found:
            count += 1
        found.add(slug if not count else f"{slug}-{count}")
    return found


def links(root: Path) -> str:
    """Every relative link of every document leads to a file, and to a heading in it."""
    known = set(files(root))
    rooms = {parent for path in known for parent in path.parents}

    def problems() -> Iterator[str]:
        for path in require(files(root, "*.md"), "document"):
            text = CODE.sub("", FENCE.sub("", (root / path).read_text()))
            for target in (inline or reference for inline, reference in LINK.findall(text)):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                aim = Path(os.path.normpath(path.parent / name)) if name else path
                if aim not in known and aim not in rooms:
                    yield f"{path}: {target} leads to no file of the repository"
                elif anchor and aim.suffix == ".md" and anchor not in _anchors(root / aim):
                    yield f"{path}: {target} leads to no heading of {aim}"

    return report(problems())


def _installed_by_a_role(path: Path) -> bool:
    # What a role or an image installs gets its mode there; modules are never run as files.
    return path.is_relative_to(COLLECTION)


def executable_bits(root: Path) -> str:
    """A file can be executed exactly when it says by what."""

    def problems() -> Iterator[str]:
        for path in files(root):
            with (root / path).open("rb") as file:
                shebang = file.read(2) == b"#!"
            executable = os.access(root / path, os.X_OK)
            if executable and not shebang:
                yield f"{path} is executable but does not begin with #!"
            if shebang and not executable and not _installed_by_a_role(path):
                yield f"{path} begins with #! but is not executable (chmod +x)"

    return report(problems())


def machine_traces(root: Path) -> str:
    """No file mentions this machine or where packages come from."""
    traces = {
        **TRACES,
        "the path of this checkout": re.compile(re.escape(str(ROOT)) + r"\b"),
        "the path of this Python": re.compile(re.escape(sys.base_prefix) + r"/(?!share|lib/sys)"),
    }
    if sys.base_prefix in {"/usr", "/usr/local"}:
        del traces["the path of this Python"]

    def problems() -> Iterator[str]:
        for path in files(root):
            text = (root / path).read_text(errors="replace")
            for what, pattern in traces.items():
                found = pattern.search(text)
                if found:
                    line = text.count("\n", 0, found.start()) + 1
                    yield f"{path}:{line}: {what}: {found[0]}"

    return report(problems())


def _index(root: Path) -> Iterator[str]:
    yield "| plugin | type | what it does |"
    yield "| --- | --- | --- |"
    for kind in ("modules", "lookup", "filter", "callback"):
        for path in files(root, f"{COLLECTION}/plugins/{kind}/*.py"):
            if path.stem == "__init__":
                continue
            text = (root / path).read_text()
            block = re.search(r'^DOCUMENTATION = r?"""(.*?)^"""', text, re.MULTILINE | re.DOTALL)
            if block is None:
                raise AssertionError(f"{path} has no DOCUMENTATION")
            summary = yaml.safe_load(block[1])["short_description"]
            yield f"| `aina.factory.{path.stem}` | {kind.removesuffix('s')} | {summary} |"


def module_index(root: Path) -> str:
    """The collection's README lists every plugin in the words of its documentation."""
    wanted = "\n".join(_index(root))
    if wanted in (root / COLLECTION / "README.md").read_text():
        return ""
    return f"{COLLECTION}/README.md must hold this table:\n{wanted}"
