"""What Ansible modules do, each as one step, alone or several in one round trip.

A step has ``ARGUMENTS`` (an argument spec) and ``execute(parameters, context)``, which
returns what the module returns: ``changed``, ``diff``, ``actions`` or ``changed_paths``,
and more. The modules are shells over it: :func:`alone` runs one step,
``aina.factory.sequence`` runs many.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...base import ansible_effects, processes
from ...base.errors import FactoryError
from ...base.ports import Run
from .. import guard as guard_
from ..way_in import connection, way_back


class StepError(FactoryError):
    """The declared state cannot be reached; the message says what was wrong, where, and the remedy.

    ``done`` is what had been changed before that, as a result has it: ``actions`` or
    ``changed_paths``.
    """

    def __init__(self, message: str, **done: Sequence[str]) -> None:
        super().__init__(message)
        self.done: dict[str, Any] = {key: list(value) for key, value in done.items() if value}


@dataclass(frozen=True)
class Context:
    """Around a step: effects, whether only to predict, and what earlier steps have changed.

    ``warn`` shows a sentence to the operator. ``changed_paths`` are those of all steps before
    this one in the same call, ``declared`` the steps of the call by name.
    """

    run: Run
    check_mode: bool
    warn: Callable[[str], None]
    changed_paths: tuple[str, ...] = ()
    declared: Sequence[tuple[str, Mapping[str, Any]]] = ()
    protect: Callable[[way_back.Undo], None] = lambda _undo: None


class Protection:
    """Prepares the way back before the first change of what people come in by."""

    def __init__(self, run: Run, *, check_mode: bool, seconds: int = way_back.SECONDS) -> None:
        """Watch for ``seconds`` after the end of this process for a confirmation."""
        self._run, self._check_mode, self._seconds = run, check_mode, seconds
        self._holder = processes.identity()
        self._armed: way_back.Armed | None = None
        self._at_risk: list[str] = []

    def begin(self, warn: Callable[[str], None]) -> None:
        """Take over what an earlier run could not confirm; tell what was taken back.

        Raises:
            StepError: it is being taken back at this moment.

        """
        if self._check_mode:
            return
        try:
            for what in way_back.taken_back():
                warn(f"a run could not confirm this, so the host has taken it back: {what}")
            if found := way_back.pending():
                self._armed = way_back.hold(found, self._session(), self._holder)
        except (way_back.WayBackError, OSError) as error:
            raise StepError(str(error)) from error

    def __call__(self, undo: way_back.Undo) -> None:
        """Have what takes a change back ready before it is made; in check mode note it.

        Raises:
            StepError: it cannot be prepared, and the change must not be made.

        """
        self._at_risk.append(undo.what)
        if self._check_mode:
            return
        earlier = self._armed.undos if self._armed else ()
        try:
            others = self._armed.others if self._armed else self._others()
            armed = way_back.Armed(self._holder, self._session(), (*earlier, undo), others)
            way_back.arm(armed, self._holder, self._seconds, self._run)
        except (way_back.WayBackError, OSError) as error:
            raise StepError(str(error)) from error
        self._armed = armed

    def _others(self) -> tuple[connection.Session, ...]:
        """Return who else is logged in and could log in again as the host is now."""
        found = guard_.others(self._run)
        shut_out = [session for session, _why in guard_.shut(found, self._run, time.time())]
        return tuple(session for session in found if session not in shut_out)

    def _session(self) -> str:
        return connection.session_process(os.getpid())

    @property
    def told(self) -> dict[str, Any]:
        """Return what a result says of it: what is at risk, and what is to be confirmed."""
        found: dict[str, Any] = {"at_risk": self._at_risk} if self._at_risk else {}
        if self._armed is not None:
            what = [undo.what for undo in self._armed.undos]
            confirm = {"token": self._armed.token, "seconds": self._seconds, "what": what}
            found["way_back"] = confirm
        return found


class Step(Protocol):
    """A module of this package."""

    @property
    def ARGUMENTS(self) -> dict[str, Any]:  # noqa: N802 - a constant of the modules
        """The argument spec."""

    def execute(self, parameters: dict[str, Any], context: Context) -> dict[str, Any]:
        """Bring the state about, or in check mode predict it.

        Raises:
            StepError: it cannot be reached.

        """


def guard(step: Step, parameters: dict[str, Any], context: Context) -> None:
    """Let a step that has a ``guard`` refuse, before the first step of a call changes anything.

    Raises:
        StepError: the step must not be carried out.

    """
    refuse = getattr(step, "guard", None)
    if refuse is not None:
        refuse(parameters, context)


# Programs of ours that steps of other roles call, and the role that brings each.
PROGRAMS = {"/usr/local/bin/factory": "factory_command"}


def lacks_program(what: str, path: str) -> dict[str, str]:
    """Return what is waited for where an earlier role has not run on this host."""
    remedy = f"the role {PROGRAMS[path]} brings it: converge everything, or --tags {PROGRAMS[path]} first"
    return {"what": what, "for": path, "remedy": remedy}


def lacks_file(what: str, path: str) -> dict[str, str]:
    """Return what is waited for, as ``waiting`` lists it, where only a file is missing."""
    remedy = "declare it among the secrets (docs/secrets.md) or put it there, and converge again"
    return {"what": what, "for": path, "remedy": remedy}


def alone(module: Any, step: Step, **more: Any) -> None:
    """Run one step as a whole module and exit, answering ``more`` besides."""
    run = ansible_effects.runner(module)
    protection = Protection(run, check_mode=module.check_mode)
    context = Context(run, module.check_mode, module.warn, protect=protection)
    try:
        protection.begin(module.warn)
        guard(step, module.params, context)
        result = step.execute(module.params, context)
    except StepError as error:
        told = {**error.done, **protection.told}
        module.fail_json(msg=str(error), changed=bool(error.done), **told, **more)
    else:
        module.exit_json(**result, **protection.told, **more)


def hide(module: Any, secrets: Collection[str], shown: Mapping[str, Any]) -> dict[str, Any]:
    """Limit the hiding of values to ``secrets``; return the invocation for display.

    An option with contents of files is declared secret as a whole, so that the host's log
    never sees one. That would also blank every diff.
    """
    module.no_log_values.clear()
    module.no_log_values.update(secrets)
    return {"module_args": dict(shown)}
