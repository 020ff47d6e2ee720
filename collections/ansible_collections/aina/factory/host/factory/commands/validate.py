"""``factory validate``: judge configuration files before they are put in force."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from factory import configuration
from factory.core.base import brought, settings
from factory.core.site.sections import SECTIONS, declared
from factory.outcome import Exit, Outcome


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
    sections = sorted(name for name, _value in whole.items())
    for name in sections:
        if name in SECTIONS:
            settings.read(declared(name), whole.section(name))
    brought.read(whole)
    if not {*sections} <= {brought.SECTION, *SECTIONS}:
        # It takes the declarations of every capability; the file of one role needs but its own.
        settings.read_some(importlib.import_module("factory.core.site.settings").Site, whole)
    whole.done()
    return Outcome(Exit.DONE, {"sections": sections}, f"valid: {', '.join(sections)}")
