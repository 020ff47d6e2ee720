"""The supervisor of a slot: jobs, failures of every kind, and what it leaves behind when it dies."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simulator import stub_runner

from factory.core.base import documents
from factory.core.base.docker import DockerError
from factory.core.runners import processes, state
from factory.core.runners.container import ContainerRun
from factory.runners import loop
from factory.runners.engine import NOT_STARTED, Attached, ContainerStatus, SlotContainer
from factory.runners.loop import Loop, Ports, RunnerSession
from factory.runners.probe import Probe
from runners.support import REPOSITORY, RUNNERS, KilledError, Site, until

pytestmark = pytest.mark.slow
SLOT = "pool-1"


class Box:
    """One played container: a fresh tree, and the stub's process in it once it is started."""

    def __init__(self, tree: Path, runner_id: int, declared: str) -> None:
        self.tree, self.runner_id, self.declared = tree, runner_id, declared
        self.process: subprocess.Popen[bytes] | None = None
        self.written_mib = 0.0

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


class PlayedEngine:
    """Starts the runner application as a process where the engine would start a container."""

    def __init__(self, root: Path, ca_file: str) -> None:
        self.root, self.ca_file = root, ca_file
        self.boxes: dict[str, Box] = {}
        self.argv: list[list[str]] = []
        self.image = "sha256:one"
        self.image_questions = 0
        self.broken = self.startless = False
        self.on_start: Callable[[], None] = lambda: None

    def containers(self, slot: str) -> list[SlotContainer]:
        return [
            SlotContainer(name, box.runner_id, REPOSITORY, box.runs, slot, box.declared)
            for name, box in list(self.boxes.items())
            if f"-{slot}-" in name
        ]

    def image_id(self, name: str) -> str | None:
        self.image_questions += 1
        return self.image

    def create(self, argv: list[str]) -> None:
        self.argv.append(argv)
        if self.broken:
            raise DockerError("docker create: no space left on device")
        name = argv[argv.index("--name") + 1]
        label = next(word for word in argv if word.startswith("aina-factory.runner="))
        tree = self.root / name
        with tarfile.open(fileobj=io.BytesIO(stub_runner.tarball("2.330.0"))) as tar:
            tar.extractall(tree)  # noqa: S202 - our own
        declared = next(word for word in argv if word.startswith("aina-factory.declared="))
        self.boxes[name] = Box(tree, int(label.partition("=")[2]), declared.partition("=")[2])

    def start(self, name: str, secret: str) -> Attached:
        if self.startless:
            return Attached(subprocess.Popen(["sh", "-c", "exit 1"], stdout=subprocess.PIPE))
        tree = self.boxes[name].tree
        process = subprocess.Popen(
            [tree / "bin/Runner.Listener", "run"],
            cwd=tree,
            env={
                **os.environ,
                "SSL_CERT_FILE": self.ca_file,
                "ACTIONS_RUNNER_INPUT_JITCONFIG": secret,
                "ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.boxes[name].process = process
        self.on_start()
        return Attached(process)

    def adopt(self, name: str) -> Attached:
        process = self.boxes[name].process
        assert process is not None
        # As docker wait: somebody who cannot hear the application.
        script = f"while kill -0 {process.pid} 2>/dev/null; do sleep 0.05; done"
        threading.Thread(target=process.wait, daemon=True).start()
        return Attached(subprocess.Popen(["sh", "-c", script]))

    def status(self, name: str) -> ContainerStatus | None:
        if name not in self.boxes:
            return None
        process = self.boxes[name].process
        if process is None:
            return ContainerStatus(False, NOT_STARTED)
        code = process.poll()
        return ContainerStatus(code is None, 0 if code is None else code)

    def has_worker(self, name: str) -> bool | None:
        return processes.has_worker(str(self.boxes[name].tree))

    def written_mib(self, name: str) -> float | None:
        return self.boxes[name].written_mib if name in self.boxes else None

    def end(self, name: str, grace_seconds: int = 10) -> None:
        process = self.boxes[name].process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)

    def remove(self, name: str) -> None:
        if name not in self.boxes:
            return
        if self.boxes[name].runs:
            raise DockerError("docker rm: it is running")
        shutil.rmtree(self.boxes.pop(name).tree)

    def running(self) -> list[str]:
        return [name for name, box in list(self.boxes.items()) if box.runs]

    def ready(self) -> list[str]:
        return [name for name, box in list(self.boxes.items()) if box.process is None]

    def close(self) -> None:
        for box in list(self.boxes.values()):
            if box.process is None:
                continue
            try:
                os.killpg(box.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            box.process.wait()


class Slot:
    """A loop in a thread, and the levers that move it."""

    def __init__(self, site: Site, engine: PlayedEngine, name: str = SLOT) -> None:
        self.site, self.engine, self.name = site, engine, name
        self.preflight = ""
        self.recheck = ""
        self.mark = self.built = "1"
        self.looks = 0
        self.rebuilds = 0
        self.on_turn: Callable[[], None] = lambda: None
        self.on_tick: Callable[[], None] = lambda: None
        self.code: int | None = None
        self.thread: threading.Thread | None = None
        self.loop: Loop | None = None

    def _container_run(self, name: str, runner_id: int) -> ContainerRun:
        self.on_turn()
        return ContainerRun(self.name, name, runner_id, "ci", "parent", "0", "net")

    def _fingerprint(self) -> str:
        self.on_tick()
        self.looks += 1
        return self.mark

    def _rebuild(self) -> None:
        self.rebuilds += 1

    def start(self) -> Slot:
        github = self.site.github_client()
        instance = github.settings.of_slot(self.name)
        assert instance is not None
        assert github.judge(instance).ok
        draws = iter(number / 1009 % 1 for number in range(1, 100000, 7))
        ports = Ports(
            github=github,
            engine=self.engine,
            preflight=lambda: self.preflight,
            recheck=lambda: self.recheck,
            container_run=self._container_run,
            image=lambda: "ci",
            built=lambda: self.built,
            fingerprint=self._fingerprint,
            draw=lambda: next(draws),
            rebuild=self._rebuild,
        )
        self.loop = Loop(self.name, instance, ports)
        self.code = None
        self.thread = threading.Thread(target=self._run, args=(self.loop,))
        self.thread.start()
        return self

    def _run(self, running: Loop) -> None:
        try:
            self.code = running.run()
        except KilledError:
            self.code = -9

    def stop(self) -> None:
        if self.loop is not None:
            self.loop.stopping.set()

    def end(self, seconds: float = 60.0) -> int | None:
        """Wait for the loop's end and return its status."""
        assert self.thread is not None
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the loop goes on"
        return self.code

    @property
    def state(self) -> state.State:
        found = state.read(self.site.places.state, self.name)
        assert found is not None
        return found

    def is_in(self, condition: str) -> bool:
        found = state.read(self.site.places.state, self.name)
        return found is not None and found.state == condition

    def idle(self) -> str:
        """Wait until the slot waits for a job; return its runner's name."""
        until(lambda: self.is_in("idle"), "an idle runner")
        return str(self.state.runner_name)


@pytest.fixture
def engine(site: Site, tmp_path: Path) -> Iterator[PlayedEngine]:
    played = PlayedEngine(tmp_path / "boxes", str(site.simulator.ca_file))
    yield played
    played.close()


@pytest.fixture
def slot(site: Site, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slot]:
    monkeypatch.setattr(loop, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(loop, "HEARTBEAT_SECONDS", 0.5)
    site.section["instances"] = [{"name": "pool", "target": REPOSITORY, "labels": ["demo"]}]
    made = Slot(site, engine)
    yield made
    made.stop()
    engine.close()
    if made.thread is not None:
        made.thread.join(30)


def pool(site: Site, **changes: Any) -> None:
    site.section["instances"][0].update(changes)


def order(site: Site, **given: Any) -> None:
    site.client.control("POST", "/runner_order", given)


def test_each_job_gets_a_runner_of_its_own_and_the_last_one_is_forgotten(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    first = slot.start().idle()
    jobs = [site.done(site.queue(f"echo {word} > left; ls")) for word in ("one", "two")]
    until(lambda: slot.is_in("idle") and slot.state.jobs_count == 2, "the second job")

    assert [job["conclusion"] for job in jobs] == ["success", "success"]
    assert [job["log"] for job in jobs] == ["left\n", "left\n"]
    assert len({job["runner"] for job in jobs}) == 2
    assert jobs[0]["runner"] == first
    assert list(site.registered()) == [slot.state.runner_name]
    assert slot.state.last_job is not None
    assert slot.state.last_job["outcome"] == "Succeeded"
    assert slot.state.version == "2.330.0"
    assert list(engine.boxes) == engine.running() == [slot.state.runner_name]


def test_the_labels_are_the_default_ones_and_the_declared_ones(site: Site, slot: Slot) -> None:
    name = slot.start().idle()

    shown = [label["name"] for label in site.registered()[name]["labels"]]
    assert shown == ["self-hosted", "linux", "X64", "demo"]


def test_the_configuration_is_in_no_argument(site: Site, slot: Slot, engine: PlayedEngine) -> None:
    slot.start().idle()

    secrets = [
        r.secret for r in site.simulator.world.scopes[f"repos/{REPOSITORY}"].runners.values()
    ]
    text = " ".join(" ".join(argv) for argv in engine.argv)
    assert secrets and not [secret for secret in secrets if secret in text]
    assert "base64" not in text and len(max(text.split(), key=len)) < 400
    told = documents.read(site.places.state / f"{SLOT}.json")
    assert not [secret for secret in secrets if secret in str(told)]


# That each of them is a failure is decided without a runner.
@pytest.mark.parametrize(
    "code", [1, 134, *(pytest.param(code, marks=pytest.mark.deep) for code in (2, 3, 4, 5, 6))]
)
def test_a_failing_runner_is_replaced_after_a_pause(site: Site, slot: Slot, code: int) -> None:
    order(site, at="start", exit=code)
    slot.start()

    until(lambda: slot.is_in("idle") and slot.state.last_exit_code, "the next runner")

    assert slot.state.last_exit_code == (code if code < 128 else 128 - code)
    assert slot.state.consecutive_failures == 1
    assert len(site.registered()) == 1

    site.done(site.queue("true"))
    until(lambda: slot.state.jobs_count == 1 and slot.state.consecutive_failures == 0)


def test_a_runner_that_ends_at_once_without_a_job_is_a_failure_too(site: Site, slot: Slot) -> None:
    order(site, at="start", exit=0, times=3)

    slot.start()

    until(lambda: slot.is_in("backoff") and slot.state.consecutive_failures == 3, "failures")
    slot.idle()
    assert len(site.registered()) == 1


def test_a_slot_never_gives_up_and_is_at_full_speed_with_the_first_success(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    engine.broken = True
    slot.start()
    until(lambda: slot.is_in("backoff") and slot.state.consecutive_failures >= 7, "failures")
    assert slot.is_in("backoff") and slot.state.last_exit_code == 125

    engine.broken = False
    slot.idle()
    assert len(site.registered()) == 1
    site.done(site.queue("true"))
    until(lambda: slot.state.jobs_count == 1 and slot.state.consecutive_failures == 0)


def test_what_jobs_do_to_their_runners_slows_no_slot_down(site: Site, slot: Slot) -> None:
    order(site, at="job", exit=137, times=6)
    slot.start().idle()
    for _turn in range(6):
        site.queue("true")
    honest = site.queue("echo whole")

    assert site.done(honest)["log"] == "whole\n"
    assert slot.state.consecutive_failures == 0


def test_what_a_job_prints_is_not_the_runners_word() -> None:
    stamp = "2026-01-01 10:00:00Z: "
    session = RunnerSession("n", 1, 0.0, None)
    for line in (
        "Current runner version: '2.330.0'",
        f"{stamp}Listening for Jobs",
        f"{stamp}Running job: build",
        "Current runner version: '9.9.9'",
        f"[WORKER] {stamp}Job build completed with result: Succeeded",
        f"{stamp}Running job: other",
        f"{stamp}Job other completed with result: Succeeded",
    ):
        session.hear(line, 1.0)
    assert (session.job, session.version, session.outcome(0)) == ("build", "2.330.0", "unknown")

    session.hear(f"{stamp}Job build completed with result: Failed", 2.0)
    assert session.outcome(0) == "Failed"
    assert "killed" in session.outcome(137)
    session.hear(f"{stamp}Job build completed with result: Succeeded", 3.0)
    assert session.outcome(0) == "unknown"


def test_an_outdated_version_ends_the_slot_and_asks_for_a_new_image(site: Site, slot: Slot) -> None:
    order(site, at="start", deprecated=True)

    assert slot.start().end() == 7
    assert slot.is_in("outdated")
    assert slot.rebuilds == 1
    assert site.registered() == {}


def test_a_crash_in_the_middle_of_a_job_loses_that_job_alone(site: Site, slot: Slot) -> None:
    slot.start().idle()
    order(site, at="job", exit=137)
    lost, next_one = site.queue("true"), site.queue("true")

    assert site.done(next_one)["conclusion"] == "success"
    site.client.control("POST", "/clock", {"seconds": 61})
    site.registered()
    assert site.job(lost)["conclusion"] == "failure"


def test_an_orphan_is_ended_and_replaced(site: Site, slot: Slot) -> None:
    orphan = slot.start().idle()
    body = {"repository": REPOSITORY, "name": "box-pool-1-*", "ghost": True}
    site.client.control("POST", "/remove_runner", body)

    until(lambda: slot.is_in("idle") and slot.state.runner_name != orphan, "another runner")

    assert slot.state.orphans_count == 1
    assert slot.state.consecutive_failures == 0
    assert site.done(site.queue("true"))["conclusion"] == "success"


def test_silence_of_github_is_no_proof_of_an_orphan(site: Site, slot: Slot) -> None:
    name = slot.start().idle()
    site.client.control("POST", "/faults", {"path": f"{RUNNERS}/*", "answer": {"status": 502}})

    site.forget_requests()

    # More often than an orphan must be missed.
    until(lambda: len([r for r in site.requests() if r.startswith(f"GET {RUNNERS}/")]) > 5)

    assert (slot.state.runner_name, slot.state.orphans_count) == (name, 0)


def test_an_idle_runner_is_renewed_after_its_time_but_not_a_busy_one(
    site: Site, slot: Slot
) -> None:
    pool(site, idle_max_hours=1 / 3600)
    name = slot.start().idle()
    until(lambda: slot.is_in("idle") and slot.state.runner_name != name, "another runner")

    number = site.queue("sleep 2; echo whole")
    assert site.done(number)["log"] == "whole\n"


def test_a_job_that_never_ends_is_ended(site: Site, slot: Slot) -> None:
    pool(site, job_max_minutes=1 / 60)
    slot.start().idle()

    found = site.done(site.queue("sleep 1000"))

    assert found["conclusion"] == "cancelled"
    until(lambda: slot.state.jobs_count == 1)
    assert slot.state.last_job is not None
    assert slot.state.consecutive_failures == 0


def test_a_job_that_fills_the_disk_is_ended(site: Site, slot: Slot, engine: PlayedEngine) -> None:
    pool(site, disk_mib=100)
    name = slot.start().idle()
    number = site.queue("sleep 1000")
    until(lambda: slot.is_in("busy"))
    engine.boxes[name].written_mib = 101.0

    assert site.done(number)["conclusion"] == "cancelled"


def test_a_runner_that_never_comes_online_is_given_up_for_another(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    site.section["timing"]["online_max_seconds"] = 1
    real = engine.ca_file
    engine.ca_file = "/dev/null"
    slot.start()
    until(lambda: len(engine.argv) == 2, "a second try")
    engine.ca_file = real

    until(lambda: slot.is_in("idle"), "a working runner")
    assert len(site.registered()) == 1


def test_a_stop_while_idle_leaves_nothing(site: Site, slot: Slot, engine: PlayedEngine) -> None:
    slot.start().idle()
    slot.stop()

    assert slot.end() == 0
    assert site.registered() == {}
    assert engine.running() == []
    assert slot.is_in("stopped")


def test_a_stop_lets_the_job_end_within_its_grace(site: Site, slot: Slot) -> None:
    slot.start().idle()
    number = site.queue("sleep 1; echo whole")
    until(lambda: slot.is_in("busy"))
    slot.stop()

    assert slot.end() == 0
    assert site.job(number)["log"] == "whole\n"
    assert site.registered() == {}


def test_a_stop_does_not_wait_for_ever(site: Site, slot: Slot) -> None:
    slot.start().idle()
    number = site.queue("sleep 1000")
    until(lambda: slot.is_in("busy"))
    slot.stop()

    assert slot.end() == 0
    assert site.done(number)["conclusion"] == "cancelled"


def test_a_drained_slot_closes_its_runner_and_waits(site: Site, slot: Slot) -> None:
    slot.start().idle()
    mark = site.places.drained("pool")
    mark.parent.mkdir(parents=True)
    mark.write_text("{}")

    until(lambda: slot.is_in("stopped"), "the drain")
    assert site.registered() == {}
    number = site.queue("true")

    mark.unlink()
    assert site.done(number)["conclusion"] == "success"


def test_a_drain_never_cuts_a_job_short(site: Site, slot: Slot) -> None:
    slot.start().idle()
    number = site.queue("sleep 1.5; echo whole")
    until(lambda: slot.is_in("busy"))
    mark = site.places.drained(SLOT)
    mark.parent.mkdir(parents=True)
    mark.write_text("{}")

    assert site.done(number)["log"] == "whole\n"
    until(lambda: slot.is_in("stopped"), "the drain")


def test_a_changed_configuration_is_taken_up_once_the_runner_is_closed(
    site: Site, slot: Slot
) -> None:
    slot.start().idle()
    slot.mark = "2"

    assert slot.end() == 0
    assert site.registered() == {}


def test_a_renewed_image_replaces_the_idle_runner(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    name = slot.start().idle()
    engine.image, slot.built = "sha256:two", "2"

    # Sooner than it would be seen without a word of the builder.
    until(lambda: slot.is_in("idle") and slot.state.runner_name != name, "another runner", 40)
    assert slot.state.image_id == "sha256:two"


def test_the_engine_is_asked_for_the_image_when_one_was_built_and_else_once_a_minute(
    site: Site, slot: Slot, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = slot.start().idle()
    asked, looks = engine.image_questions, slot.looks
    engine.image = "sha256:two"

    until(lambda: slot.looks >= looks + 5, "a few looks")

    assert (engine.image_questions, slot.state.runner_name) == (asked, name)
    monkeypatch.setattr(loop, "IMAGE_ASKED_SECONDS", 0.0)  # as when a minute has passed
    until(lambda: slot.is_in("idle") and slot.state.runner_name != name, "another runner")


def test_a_target_that_may_not_be_served_any_more_loses_its_runner(site: Site, slot: Slot) -> None:
    slot.start().idle()
    site.client.control("POST", "/settings", {"repository": REPOSITORY, "private": False})
    github = site.github_client()
    slot.preflight = "its target may not be served"

    assert not github.judge(github.settings.instances[0]).ok

    until(lambda: slot.is_in("backoff"), "the end of the runner")
    assert site.registered() == {}


def test_no_runner_is_started_while_something_forbids_it(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    slot.preflight = "the disk is full"
    slot.start()
    until(lambda: slot.is_in("backoff"))
    assert slot.state.detail == "the disk is full"
    assert engine.argv == []
    assert not [r for r in site.requests() if r.startswith("POST")]

    slot.preflight = ""
    slot.idle()


# --- GitHub misbehaves --------------------------------------------------------------

JIT = f"{RUNNERS}/generate-jitconfig"


def test_a_taken_name_is_exchanged_for_another(site: Site, slot: Slot) -> None:
    site.client.control("POST", "/faults", {"path": JIT, "times": 2, "answer": {"status": 409}})

    slot.start().idle()

    assert slot.state.consecutive_failures == 0


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_refusal_is_told_at_once_and_asked_about_again(
    site: Site, slot: Slot, status: int
) -> None:
    site.client.control("POST", "/faults", {"path": JIT, "times": 3, "answer": {"status": status}})
    slot.start()

    until(lambda: slot.is_in("failed"), "the word of it")
    assert "GitHub refuses" in slot.state.detail
    slot.idle()
    tried = [request for request in site.requests() if request == f"POST {JIT}"]
    assert len(tried) == 4


def test_one_slot_tries_for_all_and_its_success_is_everybodys(
    site: Site, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(loop, "REST_SECONDS", 0.1)
    site.section["timing"] |= {"backoff_first_seconds": 1, "backoff_max_seconds": 1}
    site.section["instances"] = [
        {"name": "pool", "target": REPOSITORY, "labels": ["demo"], "slots": 3}
    ]
    slots = [Slot(site, engine, f"pool-{number}") for number in (1, 2, 3)]
    site.client.control("POST", "/faults", {"path": JIT, "answer": {"status": 401}})
    try:
        for one in slots:
            one.start()
        until(lambda: all(one.is_in("failed") for one in slots), "all are refused")
        site.forget_requests()
        until(lambda: site.requests().count(f"POST {JIT}") >= 3, "three more tries")
        assert sum(one.loop is not None and one.loop.probes for one in slots) == 1

        site.client.control("DELETE", "/faults")
        until(lambda: all(one.is_in("idle") for one in slots), "all are up")
    finally:
        for one in slots:
            one.stop()
        engine.close()
        for one in slots:
            one.end()


def test_a_slot_is_not_kept_waiting_by_the_trouble_of_the_one_that_tries(
    site: Site, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "REST_SECONDS", 0.1)
    other = Probe(site.places.shared("probe-pool"))
    assert other.take()
    site.client.control("POST", "/faults", {"path": JIT, "times": 1, "answer": {"status": 502}})

    slot.start().idle()

    assert other.successes() == 1
    other.release()


def test_a_limit_without_end_is_not_waited_out_to_its_end(site: Site, slot: Slot) -> None:
    answer = {"status": 429, "headers": {"Retry-After": "999999"}}
    site.client.control("POST", "/faults", {"path": JIT, "times": 2, "answer": answer})

    slot.start().idle()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_is_tried_again_and_leaves_no_entry(
    site: Site, slot: Slot, when: str
) -> None:
    fault = {"path": JIT, "times": 3, "when": when, "answer": {"status": 502}}
    site.client.control("POST", "/faults", fault)

    slot.start().idle()

    assert list(site.registered()) == [slot.state.runner_name]
    assert slot.state.consecutive_failures == 0


def test_a_rate_limit_is_waited_out(site: Site, slot: Slot) -> None:
    headers = {"Retry-After": "1"}
    answer = {"status": 429, "headers": headers}
    site.client.control("POST", "/faults", {"path": JIT, "times": 1, "answer": answer})
    slot.start()

    until(lambda: slot.is_in("backoff"), "the wait", 30)
    slot.idle()


# --- the supervisor is killed ----------------------------------------------------------


def kill() -> None:
    raise KilledError


def test_killed_between_registering_and_starting_it_leaves_no_entry(site: Site, slot: Slot) -> None:
    slot.on_turn = kill
    assert slot.start().end() == -9
    assert [runner["status"] for runner in site.registered().values()] == ["offline"]

    slot.on_turn = lambda: None
    slot.start().idle()
    assert list(site.registered()) == [slot.state.runner_name]


def test_killed_while_a_job_runs_the_next_process_waits_for_it(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    name = slot.start().idle()
    number = site.hold()
    until(lambda: slot.is_in("busy"))
    slot.on_tick = kill
    assert slot.end() == -9
    assert engine.running() == [name]

    slot.on_tick = lambda: None
    before = slot.looks
    slot.start()
    # The job ends while the next process watches it, not before that one has begun.
    until(lambda: slot.looks > before + 2, "the next process watches the job")
    site.let_go()
    assert site.done(number)["log"] == "whole\n"
    until(lambda: slot.is_in("idle") and slot.state.runner_name != name, "the next runner")
    assert slot.state.jobs_count == 1
    assert list(site.registered()) == [slot.state.runner_name]


def test_killed_while_idle_the_next_process_takes_the_runner_over(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    name = slot.start().idle()
    slot.on_tick = kill
    slot.end()

    slot.on_tick = lambda: None
    slot.start()
    assert slot.idle() == name
    assert site.done(site.queue("true"))["runner"] == name


def test_a_client_that_is_cut_off_does_not_end_the_job(
    site: Site, slot: Slot, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = threading.Event()
    real = Attached.ended
    monkeypatch.setattr(
        Attached,
        "ended",
        lambda self, seconds: (
            (cut.is_set() and self._process.stdout is not None) or real(self, seconds)
        ),
    )
    name = slot.start().idle()
    number = site.hold()
    until(lambda: slot.is_in("busy"))

    cut.set()  # as when the engine is restarted under a container that lives on

    looks = slot.looks
    until(lambda: slot.looks > looks + 3, "a few looks")
    assert (slot.state.runner_name, slot.state.consecutive_failures) == (name, 0)
    site.let_go()
    found = site.done(number)
    cut.clear()
    assert (found["log"], found["runner"]) == ("whole\n", name)
    until(lambda: slot.is_in("idle") and slot.state.runner_name != name, "the next runner")


# --- the next runner is made ready while a job runs --------------------------------------


def busy_with_next(slot: Slot) -> tuple[int, str]:
    """Return a job that runs, and the runner that is ready for the next one."""
    slot.start().idle()
    number = slot.site.hold()
    ready = until(slot.engine.ready, "the next runner")
    until(lambda: slot.is_in("busy"))
    assert slot.site.job(number)["status"] == "in_progress"
    return number, str(ready[0])


def test_the_next_runner_is_ready_before_the_job_ends_and_is_the_one_that_follows(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    number, ready = busy_with_next(slot)
    assert site.registered()[ready]["status"] == "offline"
    assert slot.state.runner_name != ready
    assert len(engine.running()) == 1
    waiting = site.queue("true")
    site.forget_requests()

    site.let_go()

    assert site.done(number)["log"] == "whole\n"
    assert site.done(waiting)["runner"] == ready
    until(lambda: slot.is_in("idle") and slot.state.jobs_count == 2, "the second job")
    assert list(site.registered()) == [slot.state.runner_name]
    assert len(engine.boxes) == 1
    # Nothing was registered between the two jobs.
    done = [r for r in site.requests() if r.startswith(("POST", "DELETE"))]
    first = next(i for i, request in enumerate(done) if request.startswith("DELETE"))
    assert f"POST {JIT}" not in done[:first]


def test_two_containers_of_a_slot_never_run_at_once(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    at_once: list[int] = []
    engine.on_start = lambda: at_once.append(len(engine.running()))
    slot.start().idle()

    for number in [site.queue("sleep 0.2") for _ in range(3)]:
        site.done(number)

    until(lambda: slot.is_in("idle") and slot.state.jobs_count == 3, "the last job")
    assert at_once and set(at_once) == {1}


@pytest.mark.parametrize("how", ["stop", "drain", "configuration", "image", "guard"])
def test_whoever_wants_the_slot_empty_makes_it_forget_the_next_runner_while_the_job_goes_on(
    site: Site, slot: Slot, engine: PlayedEngine, how: str
) -> None:
    number, ready = busy_with_next(slot)
    mark = site.places.drained(SLOT)
    if how == "stop":
        slot.stop()
    elif how == "drain":
        mark.parent.mkdir(parents=True)
        mark.write_text("{}")
    elif how == "configuration":
        slot.mark = "2"
    elif how == "image":
        engine.image, slot.built = "sha256:two", "2"
    else:
        site.places.shared("guard").unlink()

    until(lambda: ready not in site.registered() and engine.ready() == [], "its end")

    assert site.job(number)["status"] == "in_progress"
    site.let_go()
    assert site.done(number)["log"] == "whole\n"
    if how in ("stop", "configuration"):
        assert slot.end() == 0
        assert (site.registered(), engine.boxes) == ({}, {})


@pytest.mark.parametrize("what", ["recheck", "age"])
def test_a_runner_that_may_not_be_started_any_more_is_thrown_away(
    site: Site, slot: Slot, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    number, ready = busy_with_next(slot)
    if what == "recheck":
        slot.recheck = "the disk is full"
    else:
        monkeypatch.setattr(loop, "READY_MAX_SECONDS", 0.0)

    site.let_go()

    site.done(number)
    until(lambda: slot.is_in("idle") and slot.state.jobs_count == 1, "another runner")
    assert slot.state.runner_name != ready
    assert list(site.registered()) == list(engine.boxes) == [slot.state.runner_name]


def test_one_that_grows_old_during_a_long_job_is_exchanged(
    site: Site, slot: Slot, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "READY_MAX_SECONDS", 1.0)
    number, ready = busy_with_next(slot)

    until(lambda: ready not in engine.ready() and engine.ready(), "another one")

    assert set(site.registered()) == {slot.state.runner_name, *engine.ready()}
    site.let_go()
    assert site.done(number)["log"] == "whole\n"


def test_a_runner_that_cannot_be_made_ready_does_not_disturb_the_job(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    slot.start().idle()
    fault = {"path": JIT, "times": 1, "when": "after", "answer": {"status": 502}}
    site.client.control("POST", "/faults", fault)
    engine.broken = True
    number = site.queue("sleep 2; echo whole")
    until(lambda: slot.is_in("busy"))
    engine.broken = False

    assert site.done(number)["log"] == "whole\n"
    until(lambda: slot.is_in("idle") and slot.state.jobs_count == 1, "the next runner")
    assert slot.state.consecutive_failures == 0
    assert list(site.registered()) == list(engine.boxes) == [slot.state.runner_name]


def test_a_job_that_takes_its_runner_along_is_followed_by_the_one_that_is_ready(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    _number, ready = busy_with_next(slot)
    process = engine.boxes[str(slot.state.runner_name)].process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)  # as a container that is killed, with all in it

    until(lambda: slot.state.runner_name == ready and slot.is_in("idle"), "the next runner")
    site.let_go()
    assert slot.state.consecutive_failures == 0
    assert (
        slot.state.last_job is not None and slot.state.last_job["outcome"] == "it ended (status -9)"
    )


@pytest.mark.parametrize("step", ["registered", "made", "started", "buried"])
def test_killed_at_any_step_of_the_next_runner_nothing_of_it_stays(
    site: Site, slot: Slot, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    slot.start().idle()
    running = str(slot.state.runner_name)
    if step == "registered":
        slot.on_turn = kill
    number = site.hold()
    if step != "registered":
        until(engine.ready, "the next runner")
    if step == "made":
        slot.on_tick = kill
    elif step == "started":
        engine.on_start = kill
        site.let_go()
    elif step == "buried":
        monkeypatch.setattr(engine, "remove", lambda _name: kill())
        site.let_go()
    assert slot.end() == -9
    if step in ("registered", "made"):
        assert engine.running() == [running]
        assert len(site.registered()) == 2

    monkeypatch.undo()
    slot.on_turn = slot.on_tick = engine.on_start = lambda: None
    monkeypatch.setattr(loop, "TICK_SECONDS", 0.05)
    slot.start()
    site.let_go()

    assert site.done(number)["log"] == "whole\n"
    # Nobody of the two that are there now was made by the process that died, but one that runs.
    until(lambda: slot.is_in("idle") and slot.state.runner_name != running, "the next runner")
    assert list(site.registered()) == list(engine.boxes) == [slot.state.runner_name]
    assert site.done(site.queue("true"))["conclusion"] == "success"


def test_a_container_that_does_not_start_is_a_failure_and_leaves_nothing(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    engine.startless = True
    slot.start()

    until(lambda: slot.is_in("backoff") and slot.state.consecutive_failures >= 2, "failures")
    assert slot.state.last_exit_code == 125
    slot.stop()
    assert slot.end() == 0
    assert (site.registered(), engine.boxes) == ({}, {})


def test_a_start_of_which_nobody_knows_is_looked_at_before_anything_is_waited_for(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    site.section["timing"] |= {"backoff_first_seconds": 60, "backoff_max_seconds": 60}
    silences = iter([True])

    def cut_off() -> None:
        if next(silences, False):
            raise DockerError("docker start: was still running after 60.0 s")

    engine.on_start = cut_off
    slot.start()

    until(lambda: slot.is_in("idle"), "it is taken over")
    assert engine.running() == [slot.state.runner_name]
    assert (len(engine.argv), slot.state.consecutive_failures) == (1, 0)


def test_while_the_engine_is_silent_nothing_is_started_beside_what_runs(
    site: Site, slot: Slot, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = slot.start().idle()
    number = site.hold()
    until(lambda: slot.is_in("busy"))
    slot.on_tick = kill
    assert slot.end() == -9
    slot.on_tick = lambda: None
    real, silences = engine.containers, iter([True] * 3)

    def containers(wanted: str) -> list[SlotContainer]:
        if next(silences, False):
            raise DockerError("docker ps: was still running after 60.0 s")
        return real(wanted)

    monkeypatch.setattr(engine, "containers", containers)
    at_once: list[int] = []
    engine.on_start = lambda: at_once.append(len(engine.running()))

    slot.start()
    until(lambda: slot.is_in("busy") and slot.state.runner_name == name, "it is taken over")
    assert engine.running() == [name]
    site.let_go()

    assert site.done(number)["log"] == "whole\n"
    until(lambda: slot.is_in("idle") and slot.state.runner_name != name, "the next runner")
    assert set(at_once) == {1}


def test_a_container_that_was_made_by_another_declaration_is_replaced_once_it_is_idle(
    site: Site, slot: Slot, engine: PlayedEngine
) -> None:
    name = slot.start().idle()
    slot.on_tick = kill
    slot.end()
    slot.on_tick = lambda: None
    pool(site, memory_mib=5000)

    slot.start()

    until(lambda: slot.is_in("idle") and slot.state.runner_name != name, "another runner")
    assert "5000m" in engine.argv[-1]
