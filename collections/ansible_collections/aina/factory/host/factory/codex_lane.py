"""``codex-lane``: for dispatchers that call ``codex exec ... -``: the same words, but in a lane.

The project is the one in whose checkout or worktrees the caller stands, or that the variable
``FACTORY_LANE_PROJECT`` names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_CONFIGURATION = "/etc/aina-factory/factory.json"


def arguments_for(argv: Sequence[str]) -> argparse.Namespace:
    """Return what of codex's own words matters; words that a lane cannot honour end the program."""
    parser = argparse.ArgumentParser(prog="codex-lane", allow_abbrev=False)
    parser.add_argument("verb", choices=["exec"])
    parser.add_argument("-m", "--model")
    parser.add_argument("-c", "--config", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-C", "--cd", metavar="DIRECTORY")
    for flag in ("--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"):
        parser.add_argument(flag, action="store_true")
    given, rest = parser.parse_known_args(argv)
    for setting in given.config:
        if not setting.startswith("model_reasoning_effort="):
            parser.error(f"-c {setting}: a lane's settings stand in its image")
    if rest != ["-"]:
        unknown = " ".join(word for word in rest if word != "-")
        parser.error(
            f"a lane cannot honour: {unknown}" if unknown else "end with -: the prompt is read"
        )
    return given


def project_at(directory: str, projects: Sequence[Mapping[str, Any]]) -> str:
    """Return the project that ``directory`` belongs to; empty when it is none's."""
    here = Path(os.path.realpath(directory))
    best = ("", 0)
    for project in projects:
        for root in (project.get("path"), *(project.get("worktree_roots") or ())):
            if root and here.is_relative_to(os.path.realpath(root)) and len(root) > best[1]:
                best = (str(project["name"]), len(root))
    return best[0]


def main() -> int:
    """Find the project and hand over to ``run-lane``."""
    given = arguments_for(sys.argv[1:])
    name = os.environ.get("FACTORY_LANE_PROJECT", "")
    if not name:
        projects = json.loads(Path(_CONFIGURATION).read_bytes()).get("projects") or []
        name = project_at(given.cd or str(Path.cwd()), projects)
    if not name:
        print(
            "codex-lane: this directory belongs to no project; change into its checkout, or set "
            "FACTORY_LANE_PROJECT",
            file=sys.stderr,
        )
        return 2
    words = [name, "0", "--stdin", "--events"]
    words += [f"--model={given.model}"] if given.model else []
    done = subprocess.run(["/usr/local/bin/run-lane", *words], check=False)
    return done.returncode
