"""``factory takeover``: what runs by the clock that is not ours, and what was taken over from it."""

from __future__ import annotations

import argparse
from pathlib import Path

from factory import effects, jobs
from factory.core.base.errors import FactoryError
from factory.core.base.text import printable
from factory.core.jobs import converge, foreign, observe, takeover
from factory.core.jobs.takeover import Taken, TakeoverError
from factory.locks import exclusive
from factory.outcome import Exit, Outcome

_KEPT = (
    "their successors still run: pause them, or take the entries out of factory_crons_replaces and "
    "set the jobs absent; the next converge takes the lines over again otherwise"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory takeover``."""
    parser.add_argument(
        "--undo",
        action="store_true",
        help="give back the lines of crontabs and the scripts that were taken over",
    )
    parser.add_argument("--dry-run", action="store_true", help="with --undo: only say what")


def execute(arguments: argparse.Namespace) -> Outcome:
    """List everything foreign, or give everything back.

    Raises:
        UsageError: the caller is not root.
        LockedError: a converge is at work.

    """
    jobs.require_root()
    try:
        if arguments.undo:
            with exclusive(jobs.LOCK_PATH):
                return _undo(is_dry=arguments.dry_run)
        return _listing()
    except (FactoryError, OSError) as error:
        return Outcome(Exit.FAILED, {"error": str(error)}, f"factory: {error}")


def _listing() -> Outcome:
    found = foreign.live_lines(foreign.crontabs())
    commands = converge.foreign_commands(effects.run, systemd=observe.systemd_is_running())
    found += [(command.where, command.text) for command in commands]
    taken = takeover.recorded()
    document = {
        "foreign": [{"where": where, "what": what} for where, what in found],
        "taken": [{"kind": item.kind, "what": item.what, "user": item.user} for item in taken],
    }
    lines = [f"{printable(where)}: {printable(what)}" for where, what in found]
    lines += [f"taken over: {_told(item)}" for item in taken]
    return Outcome(Exit.DONE, document, "\n".join(lines) or "nothing foreign runs by the clock")


def _undo(*, is_dry: bool) -> Outcome:
    left, done, problems = [], [], []
    items = takeover.recorded()
    # The newest edit first: each copy is how a crontab was before its own.
    for item in reversed(items):
        try:
            if not is_dry:
                _give_back(item)
            done.append(_told(item))
        except (FactoryError, OSError) as error:
            problems.append(f"{_told(item)}: {error}")
            left.append(item)
    if not is_dry and items:
        takeover.keep(left[::-1])
    document = {"given_back": done, "problems": problems, "changed": bool(done) and not is_dry}
    verb = "would be given back" if is_dry else "given back"
    lines = [f"{verb}: {what}" for what in done] + [f"stays: {what}" for what in problems]
    if done:
        lines.append(_KEPT)
    elif not problems:
        lines.append("nothing was taken over")
    return Outcome(Exit.FAILED if problems else Exit.DONE, document, "\n".join(lines))


def _give_back(item: Taken) -> None:
    if item.kind == "script":
        here, there = Path(item.before), Path(item.what)
        if there.exists():
            if here.exists():
                raise TakeoverError(f"{there} exists again, and {here} too; look at both")
            return
        here.rename(there)
        return
    path = Path(foreign.CRONTABS_DIR, item.user)
    now = converge.user_crontab(item.user, effects.run) if path.exists() else ""
    before = Path(item.before).read_bytes().decode("utf-8", "surrogateescape")
    text = takeover.given_back(now, before, [item.what])
    if text != now:
        converge.install_crontab(item.user, text, effects.run)


def _told(item: Taken) -> str:
    if item.kind == "script":
        return printable(f"{item.what}, which lies in {Path(item.before).parent}")
    return printable(f"{item.what!r} of the crontab of {item.user}")
