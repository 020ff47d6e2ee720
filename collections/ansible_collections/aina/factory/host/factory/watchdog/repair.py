"""Carry repairs out, and write down what came of them."""

from __future__ import annotations

import logging
import pwd
from collections.abc import Iterable

from factory.core.base.ports import Run
from factory.core.watchdog.heal import (
    DONE,
    FAILED,
    GO,
    INIT_SCRIPT,
    INIT_WORKSPACE,
    RESTART_UNIT,
    START_LANE,
    Attempt,
    Repair,
)

RUN_LANE = "/usr/local/bin/run-lane"
_SECONDS = 60.0
_log = logging.getLogger(__name__)


def carry_out(repairs: Iterable[Repair], run: Run, now: float) -> list[Attempt]:
    """Try every repair whose time it is; each is logged and answered for."""
    attempts = []
    for repair in repairs:
        if repair.verdict != GO:
            continue
        try:
            detail = _ACTIONS[repair.action](repair, run)
            result = FAILED if detail else DONE
        except (OSError, TimeoutError, KeyError) as error:
            detail, result = str(error), FAILED
        _log.info("repair %s: %s%s", repair.key, result, f": {detail}" if detail else "")
        attempts.append(Attempt(now, repair.action, repair.target, result, detail))
    return attempts


def _init(repair: Repair, run: Run) -> str:
    if repair.workspace is None:
        raise OSError("the workspace is not known")
    owner = pwd.getpwuid(repair.workspace.uid).pw_name
    argv = ["runuser", "-u", owner, "--", "sh", "-c", INIT_SCRIPT, "sh", repair.target]
    return _words(run, argv)


def _restart(repair: Repair, run: Run) -> str:
    _words(run, ["systemctl", "reset-failed", "--", repair.target])
    return _words(run, ["systemctl", "restart", "--", repair.target])


def _start_lane(repair: Repair, run: Run) -> str:
    if repair.order is None:
        raise OSError("the issue is not known")
    # The one narrow way in, which the loop of dispatch takes as well.
    words = [repair.order.project, str(repair.order.issue), "--detach"]
    return _words(run, [RUN_LANE, *words])


_ACTIONS = {INIT_WORKSPACE: _init, RESTART_UNIT: _restart, START_LANE: _start_lane}


def _words(run: Run, argv: list[str]) -> str:
    done = run(argv, cwd="/", timeout_seconds=_SECONDS)
    if done.ok:
        return ""
    return done.stderr.decode(errors="replace").strip()[-300:] or f"ended with {done.returncode}"
