"""What the project pins is pinned exactly, everywhere alike, and used."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from gates.tree import ROOT, files, report, require
from gates.yaml_files import load

PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,]+\])?==(?P<version>[^\s;]+)")
USES = re.compile(r"^\s*(?:- )?uses:\s*(?P<action>\S+)(?P<comment>.*)$", re.MULTILINE)
PINNED_ACTION = re.compile(r"[\w./-]+@[0-9a-f]{40}")
VERSION_COMMENT = re.compile(r"\s+# v\d+\.\d+\.\d+")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _locked(text: str) -> Iterator[tuple[str, bool]]:
    """Yield every entry as "name==version", and whether it has a hash."""
    for entry in re.split(r"\n(?=[A-Za-z0-9])", text.replace("\\\n", " ")):
        pin = PIN.match(entry)
        if pin:
            yield f"{_normal(pin['name'])}=={pin['version']}", "--hash=sha256:" in entry


def lock(root: Path) -> str:
    """requirements.lock holds every pin of pyproject.toml, and hashes for all."""
    pyproject = tomllib.loads((root / "pyproject.toml").read_text())
    wanted = [*pyproject["project"]["dependencies"], *pyproject["dependency-groups"]["test"]]
    locked = dict(_locked((root / "requirements.lock").read_text()))

    def problems() -> Iterator[str]:
        for requirement in wanted:
            pin = PIN.match(requirement)
            if pin is None:
                yield f"pyproject.toml: {requirement} must name one exact version (==)"
            elif f"{_normal(pin['name'])}=={pin['version']}" not in locked:
                yield f"requirements.lock: {pin[0]} of pyproject.toml is missing; compile it anew"
        for entry, hashed in locked.items():
            if not hashed:
                yield f"requirements.lock: {entry} has no hash"

    return report(problems())


def _required(root: Path) -> dict[str, str]:
    entries = load(root / "requirements.yml")["collections"]
    return {entry["name"]: entry["version"] for entry in entries}


def _manifest(collection: str) -> dict[str, dict[str, str]]:
    path = Path(sys.prefix) / "collections/ansible_collections" / collection.replace(".", "/")
    manifest: dict[str, dict[str, str]] = json.loads((path / "MANIFEST.json").read_text())
    return manifest


def _used_collections(root: Path) -> set[str]:
    """Return the foreign collections whose plugins are named in YAML or Python."""
    names = r"ansible\.posix|community\.\w+"
    found: set[str] = set()
    for path in files(root, "*.yml", "*.j2", "*.cfg", "*.py"):
        if path.name != "requirements.yml" and path.parts[:2] != ("tests", "gates"):
            found.update(re.findall(rf"\b({names})\.[a-z_]+\b", (root / path).read_text()))
    return found


def collections(root: Path) -> str:
    """requirements.yml names what is installed, all that is used, and nothing else."""

    def problems() -> Iterator[str]:
        required, used = _required(root), _used_collections(root)
        needed = set(used)
        for name, version in required.items():
            information = _manifest(name)["collection_info"]
            if information["version"] != version:
                yield f"requirements.yml: {name} {version}, installed {information['version']}"
            if name in used:
                needed.update(information["dependencies"])
        for name in sorted(needed - required.keys()):
            yield f"requirements.yml: {name} is used (or a dependency) but missing"
        for name in sorted(required.keys() - needed):
            yield f"requirements.yml: {name} is used nowhere"
        allowed = load(root / ".ansible-lint")["only_builtins_allow_collections"]
        for name in sorted(set(allowed) - required.keys() - {"aina.factory"}):
            yield f".ansible-lint: {name} is allowed but not in requirements.yml"

    return report(problems())


def _wheel_versions(lock_file: Path) -> dict[str, str]:
    """Return the versions of all collections in the pinned wheel; remembered by its pin."""
    digest = hashlib.sha256(lock_file.read_bytes()).hexdigest()[:16]
    remembered = ROOT / ".cache" / f"ansible-wheel-{digest}.json"
    if not remembered.is_file():
        with tempfile.TemporaryDirectory(prefix="aina-factory-wheel-") as temporary:
            argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            argv += ["--only-binary", ":all:", "--require-hashes", "--dest", temporary]
            subprocess.run([*argv, "--requirement", str(lock_file)], check=True)
            (wheel,) = Path(temporary).glob("ansible-*.whl")
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if name.endswith("/MANIFEST.json")]
                manifests = [json.loads(archive.read(name))["collection_info"] for name in names]
        versions = {f"{m['namespace']}.{m['name']}": m["version"] for m in manifests}
        remembered.parent.mkdir(exist_ok=True)
        remembered.write_text(json.dumps(versions))
    found: dict[str, str] = json.loads(remembered.read_text())
    return found


def collections_wheel(root: Path) -> str:
    """The wheel that stands in for Galaxy carries the very versions of requirements.yml."""
    carried = _wheel_versions(root / "collections.lock")
    return report(
        f"requirements.yml: {name} {version}, but the wheel carries {carried.get(name)}"
        for name, version in _required(root).items()
        if carried.get(name) != version
    )


def actions(root: Path) -> str:
    """Every action is pinned by a commit, with its version beside it."""

    def problems() -> Iterator[str]:
        for path in require(files(root, "*.github/workflows/*.yml"), "workflow"):
            for use in USES.finditer((root / path).read_text()):
                if use["action"].startswith("./"):
                    continue
                if not PINNED_ACTION.fullmatch(use["action"]):
                    yield f"{path}: {use['action']} must be pinned by its 40-digit commit"
                elif not VERSION_COMMENT.fullmatch(use["comment"]):
                    yield f"{path}: {use['action']} needs its version as a comment (# v1.2.3)"

    return report(problems())
