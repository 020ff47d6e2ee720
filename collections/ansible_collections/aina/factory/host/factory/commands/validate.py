"""``factory validate``: judge configuration files before they are put in force."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory import configuration, github
from factory.core.base.configuration import Section
from factory.outcome import Exit, Outcome

_CORE = "factory.core"

# Section name -> how the capability that owns it reads it.
READERS: dict[str, Callable[[Section], Any]] = {
    "backup": lambda whole: _core("backup.backups").from_section(whole.section("backup")),
    "brings": lambda whole: _core("base.brought").read(whole),
    "drift": lambda whole: _core("drift").from_section(whole.section("drift")),
    "github": lambda whole: github.from_section(whole.section("github")),
    "images": lambda whole: _core("images.settings").from_section(whole.section("images")),
    "janitor": lambda whole: _core("janitor.policy").from_section(whole.section("janitor")),
    "jobs": lambda whole: _core("jobs.model").from_section(whole.section("jobs")),
    "lanes": lambda whole: _core("lanes.settings").from_section(whole.section("lanes")),
    "locks": lambda whole: whole.section("locks").absolute_path("directory"),
    "marshal": lambda whole: _core("marshal.settings").from_section(whole.section("marshal")),
    "paperclip": lambda whole: _core("watchdog.paperclip").from_section(whole.section("paperclip")),
    "projects": lambda whole: _core("base.projects").from_sections(whole.sections("projects")),
    "runners": lambda whole: _core("runners.model").from_section(whole.section("runners")),
    "reap": lambda whole: _core("worktrees.model").policy_from_section(whole.section("reap")),
    "watchdog": lambda whole: _core("watchdog.policy").from_section(whole.section("watchdog")),
}


def _core(module: str) -> Any:
    return importlib.import_module(f"{_CORE}.{module}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory validate``."""
    parser.add_argument(
        "--fragment",
        metavar="FILE",
        help="judge this one file alone instead of the configuration and its conf.d",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Read every section as its owner will.

    Raises:
        UsageError: a file is missing or no JSON object.
        ConfigurationError: a value is wrong or a key is unknown.

    """
    whole = (
        configuration.load_fragment(Path(arguments.fragment))
        if arguments.fragment
        else configuration.load(Path(arguments.config))
    )
    sections = [name for name in READERS if name in whole]
    for name in sections:
        READERS[name](whole)
    whole.done()
    return Outcome(Exit.DONE, {"sections": sections}, f"valid: {', '.join(sections)}")
