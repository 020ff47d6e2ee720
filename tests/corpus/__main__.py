"""Build a corpus from the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from corpus.build import build, give_to
from corpus.factory import SHAPES


def main() -> int:
    """Parse, build, say what stands there."""
    parser = argparse.ArgumentParser(prog="python3 -m corpus", description=__doc__)
    parser.add_argument("--target", type=Path, required=True, help="directory to create")
    parser.add_argument("--worktrees", type=int, default=108)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=sorted(SHAPES), default="small")
    parser.add_argument("--style", choices=["squash", "rebase", "merge"], default="squash")
    parser.add_argument("--owner", help="user to whom everything shall belong (needs root)")
    arguments = parser.parse_args()
    if arguments.target.exists():
        print(f"{arguments.target} exists; choose another --target or remove it", file=sys.stderr)
        return 2
    corpus = build(
        arguments.target.absolute(),
        worktrees=arguments.worktrees,
        seed=arguments.seed,
        style=arguments.style,
        shape=SHAPES[arguments.size],
    )
    if arguments.owner:
        give_to(arguments.target, arguments.owner)
    reap = sum(label.expected == "reap" for label in corpus.labels)
    print(f"{corpus.checkout}: {len(corpus.labels)} worktrees, {reap} of them safe to reap")
    return 0


if __name__ == "__main__":
    sys.exit(main())
