"""Plant the fault of each promise in a copy of the project, and look whether its payer notices.

A payer notices when it passes without the fault and fails with it. What ends otherwise, such as by
an import that no longer works, shows nothing.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from gates import tree

from promises import COLLECTION, MapError, Promise

# A fault may make a program wait for ever.
TIMEOUT_SECONDS = 1200
_PASSED, _FAILED = 0, 1


@contextlib.contextmanager
def copy(root: Path) -> Iterator[Path]:
    """Give a copy of the checkout, with what is not committed, that uses its environment."""
    with tempfile.TemporaryDirectory(prefix="aina-planted-") as name:
        place = Path(name) / root.name
        tree.copy(root, place)
        # Some tests ask git which files there are, or clone what is committed.
        who = ("-c", "user.name=planted", "-c", "user.email=planted@localhost")
        commit = (*who, "commit", "--quiet", "--message=A copy")
        for words in (("init", "--quiet"), ("add", "--all"), commit):
            subprocess.run(["git", *words], cwd=place, check=True)
        for shared in (".venv", ".cache"):
            if (root / shared).exists():
                (place / shared).symlink_to(root / shared)
        # A link is not the directory that is ignored.
        (place / ".git/info/exclude").write_text("/.venv\n/.cache\n", encoding="utf-8")
        yield place


def environment(place: Path) -> dict[str, str]:
    """Return the environment in which the copy's files come before those of the checkout."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(
            [str(place / "collections"), str(place / COLLECTION / "host")]
        ),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{place}/collections:{place}/.venv/collections",
        # The fault of today is not what was cached yesterday.
        "HYPOTHESIS_STORAGE_DIRECTORY": str(place / ".hypothesis"),
    }


def run(place: Path, argv: Sequence[str | Path]) -> tuple[int | None, str]:
    """Run a program in the copy; return how it ended (None: not in time) and what it printed."""
    try:
        done = subprocess.run(
            argv,
            cwd=place,
            env=environment(place),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return None, f"did not end within {TIMEOUT_SECONDS} s"
    return done.returncode, done.stdout


def pytest(place: Path, tests: Sequence[str], *options: str) -> tuple[int | None, str]:
    """Run tests of the copy."""
    words = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *options]
    return run(place, [*words, *tests])


def scenario(promise: Promise) -> str:
    """Return the molecule scenario in which the payer runs; "" for one that runs by itself."""
    parts = Path(promise.payer.partition("::")[0]).parts
    return parts[1] if parts[0] == "molecule" else ""


@contextlib.contextmanager
def planted(place: Path, promise: Promise) -> Iterator[None]:
    """Put the fault in for as long as the block lasts."""
    file = place / promise.fault.file
    before = file.read_bytes()
    promise.fault.apply(place)
    try:
        yield
    finally:
        file.write_bytes(before)


def unnoticed(root: Path, promises: Sequence[Promise]) -> Iterator[tuple[Promise, str]]:
    """Yield each promise with why its fault counts as not noticed; "" where it was."""
    with copy(root) as place:
        for name, group in groupby(sorted(promises, key=scenario), scenario):
            members = [*group]
            yield from _in_scenario(place, name, members) if name else _alone(place, members)


def _verdict(status: int | None, output: str) -> str:
    if status == _FAILED:
        return ""
    if status == _PASSED:
        return "the payer passes with the fault"
    lines = output.strip().splitlines() or ["nothing was printed"]
    return f"the payer neither passes nor fails: {lines[-1]}"


def _passing(place: Path, promises: Sequence[Promise], *options: str) -> dict[str, str]:
    """Return the payers that do not pass without a fault, each with how it ended."""
    payers = sorted({promise.payer for promise in promises}, key=lambda test: _place(place, test))
    if pytest(place, payers, *options)[0] == _PASSED:
        return {}
    ended = {payer: pytest(place, [payer], *options) for payer in payers}
    return {
        payer: f"the payer does not pass without the fault:\n{output}"
        for payer, (status, output) in ended.items()
        if status != _PASSED
    }


def _place(place: Path, test: str) -> tuple[str, int]:
    """Return where a test stands: in a file, they may come one after the other."""
    path, _, name = test.partition("::")
    function = name.partition("[")[0]
    return path, (place / path).read_text(encoding="utf-8").find(f"def {function}(")


def _alone(place: Path, promises: Sequence[Promise]) -> Iterator[tuple[Promise, str]]:
    broken = _passing(place, promises)
    for promise in promises:
        if promise.payer in broken:
            yield promise, broken[promise.payer]
            continue
        try:
            with planted(place, promise):
                yield promise, _verdict(*pytest(place, [promise.payer], "--exitfirst"))
        except MapError as error:
            yield promise, str(error)


def _in_scenario(
    place: Path, name: str, promises: Sequence[Promise]
) -> Iterator[tuple[Promise, str]]:
    """Keep the scenario's hosts; each fault is converged, as a change of the project is.

    The converge with the next fault takes the last one out. At the end the payers must pass again
    without any: what has stayed on the host could be what made them fail.
    """
    molecule = Path(sys.executable).with_name("molecule")

    def play(step: str) -> str:
        status, output = run(place, [molecule, step, "--scenario-name", name])
        return "" if status == 0 else f"molecule {step} fails:\n{output[-4000:]}"

    options = ["--hosts=ansible://factory"]
    options += [f"--ansible-inventory={place}/molecule/{name}/inventory.yml"]
    try:
        wrong = play("destroy") or play("converge")
        broken = {} if wrong else _passing(place, promises, *options)
        verdicts = {}
        for promise in promises:
            if wrong or promise.payer in broken:
                verdicts[promise.name] = wrong or broken[promise.payer]
                continue
            try:
                with planted(place, promise):
                    verdict = play("converge")
                    verdict = verdict or _verdict(*pytest(place, [promise.payer], *options))
            except MapError as error:
                verdict = str(error)
            verdicts[promise.name] = verdict
        left = play("converge")
        stuck = {} if wrong or left else _passing(place, promises, *options)
        for promise in promises:
            again = left or stuck.get(promise.payer, "")
            yield promise, verdicts[promise.name] or (again and f"afterwards, {again}")
    finally:
        play("destroy")
