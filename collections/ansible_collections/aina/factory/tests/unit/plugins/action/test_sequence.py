"""What the control node does once a module has changed the way in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.aina.factory.plugins.action import sequence
from ansible_collections.aina.factory.plugins.action.sequence import ActionModule

ARMED = {"token": "7:7", "seconds": 90, "what": ["ufw enable"]}
CUT = AnsibleConnectionFailure("Connection timed out")


class Connection:
    """The connection of a host, and what it was asked for."""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.has_native_async = False
        self.options = {"ssh_args": "-o ControlMaster=auto"}
        self.resets = 0
        self._shell = SimpleNamespace(tmpdir="/gone")

    def reset(self) -> None:
        self.resets += 1

    def get_option(self, name: str) -> str:
        return self.options[name]

    def set_option(self, name: str, value: str) -> None:
        self.options[name] = value


class Played:
    """The action with a played host: what the module says, then what each confirmation says."""

    def __init__(self, result: dict[str, Any], answers: list[Any], transport: str = "ssh") -> None:
        self.connection = Connection(transport)
        self.warned: list[str] = []
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self._answers = [result, *answers]
        made: Any = object.__new__(ActionModule)
        vars(made).update(
            _connection=self.connection,
            _task=SimpleNamespace(async_val=0, check_mode=False),
            _display=SimpleNamespace(warning=self.warned.append),
            _execute_module=self._execute,
        )
        self._action = made

    def run(self) -> dict[str, Any]:
        result: dict[str, Any] = self._action.run()
        return result

    def _execute(
        self, module_name: str = "", module_args: dict[str, Any] | None = None, **_more: Any
    ) -> dict[str, Any]:
        self.asked.append((module_name, module_args or {}, self.connection.options["ssh_args"]))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(ActionBase, "run", lambda _self, _tmp, _vars: {})
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.append(now.pop() + seconds))
    return now


def test_a_run_that_changed_nothing_of_the_way_in_opens_no_other_connection() -> None:
    action = Played({"changed": True}, [])

    assert action.run() == {"changed": True}
    assert len(action.asked) == 1
    assert action.connection.resets == 0


def test_a_change_is_confirmed_over_a_connection_that_nobody_shares() -> None:
    action = Played({"changed": True, "way_back": ARMED}, [CUT, {"state": "confirmed"}])

    assert action.run() == {"changed": True, "confirmation": "confirmed by a new login"}

    name, arguments, options = action.asked[-1]
    assert (name, arguments) == (sequence.CONFIRM, {"token": "7:7", "new_connection": True})
    assert options.startswith("-o ControlMaster=no -o ControlPath=none")
    assert action.connection.resets == 2
    assert action.connection.options["ssh_args"] == "-o ControlMaster=auto"


def test_a_change_that_the_host_took_back_is_a_failure_that_says_why() -> None:
    action = Played({"way_back": ARMED}, [CUT, {"state": "restored"}])

    result = action.run()

    assert result["failed"]
    assert "nobody could log in any more (Connection timed out)" in result["msg"]
    assert "taken this back: ufw enable" in result["msg"]
    assert result["confirmation"].startswith("not confirmed")


@pytest.mark.parametrize("answer", [CUT, {"state": "unknown"}, {"failed": True, "msg": "sudo"}])
def test_what_nobody_confirmed_in_time_is_a_failure(answer: Any, clock: list[float]) -> None:
    result = Played({"way_back": ARMED}, [answer]).run()

    assert result["failed"]
    assert clock[0] < 300


def test_what_failed_is_confirmed_as_well_and_stays_a_failure() -> None:
    failed = {"failed": True, "msg": "apt", "way_back": ARMED}

    confirmed = Played(failed, [{"state": "confirmed"}]).run()
    restored = Played(failed, [{"state": "restored"}]).run()

    said = {"confirmation": "confirmed by a new login"}
    assert confirmed == {"failed": True, "msg": "apt", **said}
    assert restored["msg"].endswith("ufw enable; apt")


def test_without_ssh_it_is_confirmed_and_said_that_no_login_was_tried() -> None:
    action = Played({"way_back": ARMED}, [{"state": "confirmed"}], "community.docker.docker")

    assert action.run() == {"confirmation": "confirmed without a login by SSH"}

    assert action.asked[-1][1]["new_connection"] is False
    assert "confirmed without a login by SSH" in action.warned[0]
    assert action.connection.resets == 0


@pytest.mark.parametrize("key", ["module_stderr", "module_stdout"])
def test_a_sudo_that_demands_a_terminal_is_named_with_the_remedy(key: str) -> None:
    said = {key: "noise\nsudo: sorry, you must have a tty to run sudo\n"}
    unread = {"failed": True, "msg": "No start of json char found", **said}

    result = Played(unread, []).run()

    assert result["msg"].startswith("sudo lets this account do nothing here (sudo: sorry, you must")
    assert "!requiretty" in result["msg"]
    assert Played({"failed": True, "msg": "apt"}, []).run()["msg"] == "apt"
