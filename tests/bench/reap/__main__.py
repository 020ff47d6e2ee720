"""Time the owner's janitor, ours and two peers on equal copies of one corpus."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus.build import build
from corpus.factory import DAY_SECONDS, Shape, touch
from corpus.labels import Corpus
from reap.support import SEED_SCRIPTS, Pristine, environment

# Two unlinkers, as the reaper uses.
UNLINKERS = "2"
SITUATIONS = (
    "landed", "landed and main moved", "fresh branch", "pushed", "unlanded", "dirty", "untracked",
)  # fmt: skip
OURS = "factory reap"
VERDICTS_GOAL = 5.0
DELETION_GOAL = 1.3


@dataclass
class Figures:
    """One contender on one size; times in seconds.

    ``verdicts_seconds`` is until the user knows all verdicts: the owner's script tells none
    before it has acted on it. ``deciding_seconds`` is what is left when nothing is deleted.
    """

    contender: str
    worktrees: int
    reaped: int
    verdicts_seconds: float | None
    deciding_seconds: float | None
    names_free_seconds: float
    bytes_free_seconds: float
    cpu_seconds: float
    git_processes: int | None


def timed(command: Sequence[str | Path], **variables: str) -> float:
    """Run a command and return its seconds."""
    started = time.monotonic()
    subprocess.run(command, env=environment(**variables), capture_output=True, check=False)
    return time.monotonic() - started


def ours(corpus: Corpus, *options: str) -> list[str | Path]:
    repository = ["--repository", str(corpus.checkout)]
    return [sys.executable, "-m", "factory", "reap", *repository, "--json", *options]


def git_processes(command: Sequence[str | Path], scratch: Path) -> int:
    """Run a command with a ``git`` that counts itself, and return how often it was started."""
    tools = scratch / "counting"
    tools.mkdir(exist_ok=True)
    counted = tools / "counted"
    counted.write_bytes(b"")
    wrapper = tools / "git"
    wrapper.write_text(f'#!/bin/sh\nprintf x >>{counted}\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)
    timed(command, PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    return counted.stat().st_size


def refresh(corpus: Corpus) -> None:
    """Give every index the stat data of this copy, as the agents' own git would have."""
    for label in corpus.labels:
        index = ["git", "-C", label.path, "update-index", "-q", "--refresh"]
        subprocess.run(index, env=environment(), capture_output=True, check=False)
        admin = corpus.checkout / ".git" / "worktrees" / Path(label.path).name
        touch(admin, corpus.seconds - 3 * DAY_SECONDS)


def cpu() -> float:
    """Return the processor seconds of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def present(corpus: Corpus) -> set[str]:
    """Return the worktrees that are there."""
    return {label.path for label in corpus.labels if Path(label.path).is_dir()}


def deciding_only(scratch: Path) -> Path:
    """Return the owner's janitor without its deletions: what it takes to decide."""
    script = scratch / "decide.sh"
    text = (SEED_SCRIPTS / "janitor.sh").read_text()
    script.write_text(text.replace("git worktree remove --force", "true").replace("prune", "list"))
    script.chmod(0o755)
    return script


def measure(pristine: Pristine, scratch: Path) -> list[Figures]:
    """Run all contenders on one corpus."""
    corpus = pristine.corpus
    size = len(corpus.labels)

    def contend(
        name: str, act: Callable[[], tuple[float, float]], decide: Sequence[str | Path] | None,
        count: Sequence[str | Path] | None,
    ) -> Figures:  # fmt: skip
        pristine.put_back()
        refresh(corpus)
        deciding = timed(decide) if decide else None
        processes = git_processes(count, scratch) if count else None
        refresh(corpus)
        # Nothing of the copying is left for the disk to write while it is measured.
        os.sync()
        before, used = present(corpus), cpu()
        names, whole = act()
        used = cpu() - used
        gone = len(before - present(corpus))
        verdicts = names if decide and name != OURS else deciding
        return Figures(name, size, gone, verdicts, deciding, names, whole, used, processes)

    def act_ours() -> tuple[float, float]:
        started = time.monotonic()
        # As a unit it leaves no process behind that waits for the end of the undo period.
        timed(ours(corpus, "--no-sizes"), INVOCATION_ID="bench")
        names = time.monotonic() - started
        chosen.extend(sorted({label.path for label in corpus.labels} - present(corpus)))
        timed(ours(corpus, "--empty-trash"))
        return names, time.monotonic() - started

    def act_whole(*command: str | Path) -> Callable[[], tuple[float, float]]:
        def act() -> tuple[float, float]:
            seconds = timed(command)
            return seconds, seconds

        return act

    chosen: list[str] = []
    decide = deciding_only(scratch)
    janitor = SEED_SCRIPTS / "janitor.sh"
    # The script knows the size of nothing.
    decide_ours = ours(corpus, "--dry-run", "--no-sizes")
    figures = [
        contend("owner's janitor", act_whole(janitor, corpus.checkout),
                [decide, corpus.checkout], [decide, corpus.checkout]),
        contend(OURS, act_ours, decide_ours, decide_ours),
    ]  # fmt: skip
    listed = scratch / "chosen"
    listed.write_bytes(b"".join(os.fsencode(path) + b"\0" for path in chosen))
    loop = f"xargs -0 -n1 git -C {corpus.checkout} worktree remove --force <{listed}"
    floor = f"xargs -0 -n1 -P{UNLINKERS} rm -rf <{listed}"
    figures += [
        contend("git worktree remove, one by one", act_whole("sh", "-c", loop), None, None),
        contend("rm -rf, two at a time", act_whole("sh", "-c", floor), None, None),
    ]
    return figures


def median(runs: list[list[Figures]]) -> list[Figures]:
    """Return the medians of repeated runs, contender by contender."""
    result = []
    for same in zip(*runs, strict=True):
        merged = asdict(same[0])
        for key, value in merged.items():
            if isinstance(value, float):
                merged[key] = statistics.median(getattr(one, key) for one in same)
        result.append(Figures(**merged))
    return result


def number(value: float | None) -> str:
    """Return a cell of the table."""
    return "" if value is None else f"{value:.2f}"


def table(figures: list[Figures]) -> str:
    rows = [
        "| worktrees | contender | reaped | verdicts s | deciding alone s | names free s "
        "| bytes free s | CPU s | git processes to decide |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in figures:
        times = (
            one.verdicts_seconds, one.deciding_seconds, one.names_free_seconds,
            one.bytes_free_seconds,
        )  # fmt: skip
        cells = " | ".join(number(value) for value in (*times, one.cpu_seconds))
        count = "" if one.git_processes is None else one.git_processes
        rows.append(f"| {one.worktrees} | {one.contender} | {one.reaped} | {cells} | {count} |")
    return "\n".join(rows)


def missed(figures: list[Figures]) -> list[str]:
    """Return the goals that were missed."""
    problems = []
    for seed, own, _, floor in zip(*[iter(figures)] * 4, strict=True):
        faster = (seed.verdicts_seconds or 0) / (own.verdicts_seconds or 1)
        if faster < VERDICTS_GOAL:
            problems.append(
                f"{own.worktrees}: verdicts {faster:.1f} times faster, goal {VERDICTS_GOAL:g}"
            )
        slower = (own.bytes_free_seconds - (own.verdicts_seconds or 0)) / floor.bytes_free_seconds
        if slower > DELETION_GOAL:
            problems.append(
                f"{own.worktrees}: deletion {slower:.2f} times rm -rf, goal {DELETION_GOAL:g}"
            )
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m bench.reap", description=__doc__)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--worktrees", type=int, nargs="+", default=[10, 108, 500])
    parser.add_argument("--tracked", type=int, default=300, help="tracked files in each worktree")
    parser.add_argument("--dependencies", type=int, default=2_000, help="ignored files in each")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    target: Path = arguments.target.absolute()
    target.mkdir(parents=True)
    figures: list[Figures] = []
    shape = Shape(arguments.tracked, arguments.dependencies)
    for size in arguments.worktrees:
        root = target / f"corpus-{size}"
        corpus = build(root, worktrees=size, style="merge", shape=shape, only=SITUATIONS)
        pristine = Pristine(corpus)
        figures += median([measure(pristine, target) for _ in range(arguments.repeat)])
        for path in (root, root.with_name(root.name + ".pristine")):
            shutil.rmtree(path)
        print(f"{size} worktrees done", file=sys.stderr)
    shutil.rmtree(target)
    print(table(figures))
    if arguments.json:
        document = {"shape": asdict(shape), "figures": [asdict(one) for one in figures]}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    problems = missed(figures)
    print("\n".join(problems) or "all goals are met")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
