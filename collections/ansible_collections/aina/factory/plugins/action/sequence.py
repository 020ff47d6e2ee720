# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a module that may change the way in, and confirm by a new connection that it is open."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

CONFIRM = "aina.factory.confirm_way_in"
# Those that can be opened anew; the others do not come by what is judged.
_SSH = frozenset({"ssh", "paramiko", "paramiko_ssh", "libssh"})
_SHARED_BY_NOBODY = "-o ControlMaster=no -o ControlPath=none -o ControlPersist=no"
_PAUSE_SECONDS = 3.0
# The host is asked what it has done for so long after it has begun to restore itself.
_RESTORE_SECONDS = 120.0


def _refusal_of_sudo(result: dict[str, Any]) -> str:
    """Return why sudo has not even started the module; ``""`` where it has."""
    said = f"{result.get('module_stderr') or ''}\n{result.get('module_stdout') or ''}"
    line = next((line for line in said.splitlines() if line.startswith("sudo:")), "")
    if not (result.get("failed") and line):
        return ""
    return (
        f"sudo lets this account do nothing here ({line}). Where it demands a terminal, let a file in "
        "/etc/sudoers.d say 'Defaults:ACCOUNT !requiretty', or run with ANSIBLE_PIPELINING=0 and ssh -tt"
    )


class ActionModule(ActionBase):
    """Calls the module of the task; where that has left a watch on the host, confirms."""

    _supports_check_mode = True
    _supports_async = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the module; a change of the way in that nobody could confirm is a failure."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        detached = bool(self._task.async_val) and not self._connection.has_native_async
        result |= self._execute_module(task_vars=task_vars, wrap_async=detached)
        if refusal := _refusal_of_sudo(result):
            result["msg"] = refusal
        armed = result.pop("way_back", None)
        if not isinstance(armed, dict) or self._task.check_mode:
            return result
        problem = self._confirm(armed, task_vars or {})
        by = "by a new login" if self._is_ssh else "without a login by SSH"
        result["confirmation"] = "not confirmed, see what failed" if problem else f"confirmed {by}"
        if problem:
            words = [problem, *([result["msg"]] if result.get("failed") else [])]
            result |= {"failed": True, "msg": "; ".join(words)}
        return result

    @property
    def _is_ssh(self) -> bool:
        return bool(self._connection.transport.rpartition(".")[2] in _SSH)

    def _confirm(self, armed: dict[str, Any], task_vars: dict[str, Any]) -> str:
        """Ask over new connections until the change is confirmed or taken back; return why not."""
        what = ", ".join(armed["what"])
        is_ssh = self._is_ssh
        if not is_ssh:
            self._display.warning(
                f"what changes the way in ({what}) is confirmed without a login by SSH: this run "
                f"did not come by it but by {self._connection.transport}. Log in once before you leave"
            )
        said = ""
        deadline = time.monotonic() + armed["seconds"] + _RESTORE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = self._ask_anew(armed["token"], task_vars, is_ssh=is_ssh)
            except AnsibleError as error:
                answer = {"failed": True, "msg": str(error)}
            if answer.get("state") == "confirmed":
                return ""
            if answer.get("state") == "restored":
                because = f" ({said})" if said else ""
                return f"nobody could log in any more{because}, so the host has taken this back: {what}"
            said = " ".join(str(answer.get("msg") or answer.get("module_stderr") or "").split())
            time.sleep(_PAUSE_SECONDS)
        return (
            f"no new connection could confirm that one can still log in ({said}), and the host has "
            f"not answered since; unless that was confirmed it has taken this back: {what}"
        )

    def _ask_anew(self, token: str, task_vars: dict[str, Any], *, is_ssh: bool) -> dict[str, Any]:
        """Call the module that confirms over a connection that nobody else shares."""
        arguments = {"token": token, "new_connection": is_ssh}
        usual = None
        if is_ssh:
            self._connection.reset()
            self._connection._shell.tmpdir = None
            if self._connection.transport == "ssh":
                usual = self._connection.get_option("ssh_args")
                self._connection.set_option("ssh_args", f"{_SHARED_BY_NOBODY} {usual or ''}")
        try:
            answer: dict[str, Any] = self._execute_module(
                module_name=CONFIRM, module_args=arguments, task_vars=task_vars
            )
        finally:
            if usual is not None:
                self._connection.set_option("ssh_args", usual)
        return answer
