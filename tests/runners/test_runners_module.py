"""What the module answers when it fails half-way, or has no login yet; GitHub is not asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.module_utils.host.units import UnitsError
from ansible_collections.aina.factory.plugins.module_utils.runners.converge import ConvergeReport
from ansible_collections.aina.factory.plugins.modules import gh_runners


class Ended(Exception):  # noqa: N818 - an answer is no error
    """The module has answered."""

    def __init__(self, *, failed: bool, **answer: Any) -> None:
        super().__init__()
        self.failed, self.answer = failed, answer


class Module:
    """Stands in for AnsibleModule."""

    def __init__(self, token: Path, *, check_mode: bool = False, state: str = "present") -> None:
        self.check_mode, self.warnings = check_mode, list[str]()
        login = {"method": "token_file", "token_file": str(token)}
        instances = [{"name": "demo", "mode": "native", "target": "example/demo"}]
        settings = {"prefix": "vds", "instances": instances}
        github = {"logins": {"runners": login}}
        self.params = {
            "settings": settings,
            "github": github,
            "state": state,
            "play_runner_name": "",
        }

    def warn(self, words: str) -> None:
        self.warnings.append(words)

    def fail_json(self, **answer: Any) -> None:
        raise Ended(failed=True, **answer)

    def exit_json(self, **answer: Any) -> None:
        raise Ended(failed=False, **answer)


class Run:
    """A run that does two things, and then fails as told."""

    def __init__(self, settings: Any, *, raises: bool, failures: Sequence[str]) -> None:
        self.settings, self.raises, self.report = settings, raises, ConvergeReport()
        self.failures = failures
        self.github = SimpleNamespace(meter=SimpleNamespace(requests_count=3))

    def plan(self) -> Any:
        return SimpleNamespace(phrases=["demo: register"])

    def preview(self) -> list[str]:
        return ["demo: bring it up"]

    def carry_out(self, _planned: Any) -> None:
        self.report.actions += ["demo: make the user", "demo: unpack"]
        if self.raises:
            raise UnitsError("systemd does not answer")
        self.report.failures += self.failures


REFUSED = "demo: GET https://api.github.com/repos/example/demo/actions/runners: 403 Forbidden"
AWAY = (
    "example/demo: GitHub does not say whether it is private: GET https://api.github.com/repos/example/demo: no "
    "answer: <urlopen error [Errno -3] Temporary failure in name resolution>; what it does not say counts as the worst"
)


def answer(
    module: Module,
    monkeypatch: pytest.MonkeyPatch,
    *,
    raises: bool = False,
    failures: Sequence[str] = (REFUSED,),
) -> Ended:
    @contextmanager
    def unlocked(*_: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(gh_runners, "AnsibleModule", lambda **_: module)
    monkeypatch.setattr(gh_runners, "exclusive", unlocked)
    monkeypatch.setattr(
        gh_runners,
        "_run",
        lambda _module, settings: Run(settings, raises=raises, failures=failures),
    )
    with pytest.raises(Ended) as ended:
        gh_runners.main()
    return ended.value


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "runner-token"
    path.write_text("t")
    return path


@pytest.mark.parametrize("raises", [True, False])
def test_a_failure_tells_what_was_done_before_it(
    token: Path, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    ended = answer(Module(token), monkeypatch, raises=raises)

    assert (ended.failed, ended.answer["changed"]) == (True, True)
    assert ended.answer["actions"] == ["demo: make the user", "demo: unpack"]


@pytest.mark.parametrize("empty", [True, False])
def test_without_a_login_the_runners_wait(
    token: Path, monkeypatch: pytest.MonkeyPatch, empty: bool
) -> None:
    token.write_text("") if empty else token.unlink()
    module = Module(token)

    ended = answer(module, monkeypatch)

    assert (ended.failed, ended.answer["changed"]) == (False, False)
    assert [item["for"] for item in ended.answer["waiting"]] == [str(token)]
    assert str(token) in module.warnings[0]


def test_a_plan_names_a_missing_login_and_what_will_come(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.unlink()

    ended = answer(Module(token, check_mode=True), monkeypatch)

    assert ended.answer["actions"] == ["demo: bring it up"]
    assert [item["for"] for item in ended.answer["waiting"]] == [str(token)]


def test_runners_that_go_do_not_wait_for_a_login(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.unlink()

    ended = answer(Module(token, state="absent"), monkeypatch)

    assert (ended.failed, ended.answer["waiting"]) == (True, [])


def test_a_github_that_does_not_answer_is_waited_for(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Module(token)

    ended = answer(module, monkeypatch, failures=[AWAY, AWAY])

    assert (ended.failed, ended.answer["changed"]) == (False, True)
    assert [item["for"] for item in ended.answer["waiting"]] == ["an answer of api.github.com"]
    assert len(module.warnings) == 1


@pytest.mark.parametrize(("state", "failures"), [("present", [AWAY, REFUSED]), ("absent", [AWAY])])
def test_what_github_refuses_is_a_failure_and_so_is_its_silence_when_runners_go(
    token: Path, monkeypatch: pytest.MonkeyPatch, state: str, failures: list[str]
) -> None:
    ended = answer(Module(token, state=state), monkeypatch, failures=failures)

    assert ended.failed
    assert AWAY in ended.answer["msg"]
