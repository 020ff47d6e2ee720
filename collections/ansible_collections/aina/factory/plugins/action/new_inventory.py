# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the inventory of a new site; see the module of the same name for its documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.base import files
from ..module_utils.site import new_inventory
from ..module_utils.site.new_inventory import QUESTIONS, AnswerError

display = Display()


class ActionModule(ActionBase):
    """Works on the control node alone."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"path", *QUESTIONS})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask for what was not given, judge all of it, write one file."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = {name: str(value) for name, value in self._task.args.items()}
        target = Path(given.get("path") or "inventory").expanduser().absolute() / "hosts.yml"
        problem = _taken(target)
        answers: dict[str, str] = {}
        problems = [problem] if problem else []
        for name in QUESTIONS if not problem else ():
            try:
                answers[name] = _answer(name, given.get(name, ""))
            except AnswerError as error:
                problems.append(str(error))
        if problems:
            lines = "".join(f"\n- {item}" for item in problems)
            return {**result, "failed": True, "msg": f"no inventory was written:{lines}"}
        text = new_inventory.render(answers)
        if not self._task.check_mode:
            try:
                files.write(target, text.encode(), exclusive=True)
            except OSError as error:
                words = f"{target} was not written: {error.strerror}"
                return {**result, "failed": True, "msg": words}
        diff = {"before": "", "after": text, "before_header": "", "after_header": str(target)}
        done = {"changed": True, "actions": [f"write {target}"], "path": str(target)}
        return {**result, **done, "diff": [diff]}


def _taken(target: Path) -> str:
    """Return why nothing can be written there; empty when it can."""
    directory = target.parent
    if not directory.exists():
        return ""
    if not directory.is_dir():
        return f"{directory} is there and no directory: choose another name"
    present = sorted(path.name for path in directory.iterdir() if path.name[:1] != ".")
    if present:
        names = ", ".join(present[:5])
        return f"{directory} holds an inventory already ({names}); nothing is overwritten: choose another name"
    return ""


def _answer(name: str, given: str) -> str:
    """Return the value of one question, asked for until it can be meant so.

    Raises:
        AnswerError: it cannot, and nobody is there to be asked.

    """
    if given:
        try:
            return new_inventory.read(name, given)
        except AnswerError as error:
            raise AnswerError(f"{name}: {error}") from None
    question = QUESTIONS[name]
    default = f" [{question.default}]" if question.default else ""
    while True:
        try:
            said = display.prompt_until(f"{question.text}{default}:")
        except AnsiblePromptNoninteractive:
            return new_inventory.read(name, "")
        except AnsiblePromptInterrupt:
            raise AnsibleError("stopped; nothing was written") from None
        try:
            return new_inventory.read(name, said.decode(errors="replace"))
        except AnswerError as error:
            display.display(f"{error}")
