"""``factory images``: show the images, or build what changed."""

from __future__ import annotations

import argparse
import logging
import platform
from pathlib import Path

from factory import configuration, effects, locks
from factory.core.base.docker import DockerError
from factory.core.base.github import settings as github
from factory.core.base.settings import read
from factory.core.base.text import size
from factory.core.images import build
from factory.core.images.settings import ImagesSettings
from factory.outcome import Exit, Outcome, UsageError

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory images``."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "build", "rollback"),
        default="list",
        help="show what is in force, build what changed, or go back (default: %(default)s)",
    )
    parser.add_argument(
        "image",
        nargs="*",
        metavar="IMAGE",
        help="with rollback: which, such as ci; all unless given",
    )
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="fetch the base and all packages anew, for their security updates",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be built and build nothing"
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Show or build.

    Raises:
        UsageError: the configuration is missing.
        ConfigurationError: a value of it is wrong.
        LockedError: another build is at work.

    """
    whole = configuration.load(Path(arguments.config))
    chosen = read(ImagesSettings, whole.section("images"), github=github.of(whole))
    if arguments.image and arguments.action != "rollback":
        raise UsageError(f"{arguments.action} takes no IMAGE; it is for all of them")
    if arguments.action == "list":
        return _list(Path(chosen.state_dir))
    tools = build.BuildTools(
        effects.run,
        effects.now,
        effects.https_fetch(chosen.github.ca_file or None),
        platform.machine(),
        lambda message: _log.info("%s", message),
    )
    builder = build.Builder(chosen, tools)
    try:
        if arguments.dry_run:
            return _outcome(builder.survey())
        with locks.exclusive(locks.directory_of(whole) / build.LOCK):
            if arguments.action == "rollback":
                return _rolled_back(builder.roll_back(arguments.image))
            return _outcome(builder.build(refresh=arguments.refresh))
    except DockerError as error:
        return Outcome(Exit.FAILED, {"error": str(error)}, f"factory: {error}")


def _list(directory: Path) -> Outcome:
    found = build.facts(directory)
    try:
        there, error = set(build.names(effects.run)), ""
    except DockerError as reason:
        there, error = set(), f"whether they are there is unknown: {reason}"
    rows = [f"{'IMAGE':<40} {'SMOKE':<8} {'SIZE':>10}  BUILT"]
    for record in found:
        record["in_engine"] = None if error else record["image"] in there
        smoke = "gone" if record["in_engine"] is False else record["smoke"]
        rows.append(
            f"{record['image']:<40} {smoke:<8} "
            f"{size(record.get('size_bytes', 0)):>10}  {record.get('built_at') or 'never'}"
        )
        if record.get("detail"):
            rows.append(f"  └ {record['detail'].splitlines()[0][:110]}")
        if record["in_engine"] is False:
            rows.append("  └ the engine does not have it; factory images build makes it anew")
    if error:
        rows.append(f"factory: {error}")
    well = not error and all(item["in_engine"] and item["smoke"] == "ok" for item in found)
    document = {"images": found, **({"error": error} if error else {})}
    return Outcome(Exit.DONE if well else Exit.FAILED, document, "\n".join(rows))


def _rolled_back(found: dict[str, str]) -> Outcome:
    changed = [name for name, words in found.items() if words.startswith("back to ")]
    text = "\n".join(f"{name}: {words}" for name, words in found.items())
    document = {"images": found, "changed": bool(changed)}
    return Outcome(Exit.DONE if changed else Exit.FAILED, document, text)


def _outcome(report: build.BuildReport) -> Outcome:
    rows = [f"{name}: retired, for nobody declares it" for name in report.retired]
    for step in report.steps:
        name = step.spec.name
        words = report.failures.get(name)
        if words:
            rows.append(f"{step.spec.current}: the former one stays, for {words}")
        elif name in report.built:
            rows.append(f"{step.spec.current}: built ({step.why})")
        else:
            rows.append(f"{step.spec.current}: {f'to build ({step.why})' if step.why else 'ok'}")
    return Outcome(
        Exit.FAILED if report.failures else Exit.DONE, report.document(), "\n".join(rows)
    )
