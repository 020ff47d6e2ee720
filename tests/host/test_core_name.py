"""The command runs the core under one name, and needs nothing beside the standard library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOST = Path(__file__).parents[2] / "collections/ansible_collections/aina/factory/host"
# What is loaded by a command, or by all modules that there are.
LOADED = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv.pop(1))
import factory
from factory.__main__ import main
if sys.argv[1] == "everything":
    found = [module.name for module in pkgutil.walk_packages(factory.__path__, "factory.")]
    for name in found:
        # What a module of Ansible passes in is no part of the command.
        # That in a terminal is drawn by a library, which its command looks for first.
        if name not in ("factory.__main__", "factory.core.ansible_effects", "factory.top"):
            importlib.import_module(name)
    assert "factory.core.worktrees.reap" in found
else:
    try:
        main(sys.argv[1:])
    except SystemExit as end:
        assert end.code == 0, end.code
roots = sorted({name.partition(".")[0] for name in sys.modules})
# The standard library has one module that is named after the platform; zoneinfo asks it.
own = [name for name in roots if not name.startswith("_sysconfigdata_")]
print("loaded:", *(name for name in own if name not in sys.stdlib_module_names))
"""
COMMANDS = ["janitor", "lane", "watchdog", "runner", "marshal"]


@pytest.mark.parametrize(
    "words",
    [*([name, "--help"] for name in COMMANDS), ["validate"], ["everything"]],
    ids=" ".join,
)
def test_only_the_package_itself_is_loaded(words: list[str], tmp_path: Path) -> None:
    if words == ["validate"]:
        (tmp_path / "factory.json").write_text('{"projects": [], "reap": {}}')
        words = [*words, "--config", str(tmp_path / "factory.json")]

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOADED, str(HOST), *words],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: __main__ factory"
