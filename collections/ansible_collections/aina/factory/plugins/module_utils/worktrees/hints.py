"""Which commits could be how a lane landed: a hint that costs little, never a proof.

What a merge adds to a file and takes from it is what the lane added and took, wherever in the
file, and under whatever name, that now lies. So a commit of the default branch is worth a trial
merge when the lines it added and removed are, as a whole or for one of its files, those of the
lane or of some of the lane's commits. The lines are summed up as one number: what is equal has
equal numbers, in whatever order git tells it. Work grows with commits and lanes, not with their
product.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

Pair = tuple[str, str]

# Trial merges per lane. The best hints come first: of a commit that is the landing usually
# everything agrees.
_TRIALS = 24
# Of commits that changed the same files in other ways: a part may have been there already.
_SAME_PATHS = 3
# A lane of more commits landed in one piece, or commit by commit.
_STRETCHED_COMMITS = 24
# Trees are compared line by line in portions: what git says of one is held as a whole.
_PORTION_PATHS = 128
_SHOW = (
    "diff-tree",
    "--stdin",
    "-r",
    "-p",
    "-U0",
    "--no-renames",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--submodule=short",
    "--full-index",
)
# A larger file counts as one line.
_SETTING = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.bigFileThreshold",
    "GIT_CONFIG_VALUE_0": "256k",
}


@dataclass(frozen=True)
class Sums:
    """The lines that one change added, less those that it removed: each file's, and all."""

    files: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """The sum over all files."""
        return sum(self.files)


def lines_changed(output: Callable[..., bytes], sizes: Mapping[Pair, int]) -> dict[Pair, Sums]:
    """Return the sums of pairs of trees; ``sizes`` has how many paths differ in each.

    Raises:
        GitError: git cannot compare them.

    """
    found: dict[Pair, Sums] = {}
    for portion in _portions(sizes):
        stdin = "".join(f"{old} {new}\n" for old, new in portion).encode()
        found.update(_summed(output(*_SHOW, stdin=stdin, environment=_SETTING)))
    return found


def _portions(sizes: Mapping[Pair, int]) -> Iterator[list[Pair]]:
    portion: list[Pair] = []
    paths = 0
    for pair, size in sizes.items():
        if portion and paths + size > _PORTION_PATHS:
            yield portion
            portion, paths = [], 0
        if pair[0] != pair[1]:
            portion.append(pair)
            paths += size
    if portion:
        yield portion


def _summed(patch: bytes) -> Iterator[tuple[Pair, Sums]]:
    pair: Pair | None = None
    files: list[int] = []
    said = iter(patch.split(b"\n"))
    for line in said:
        if line.startswith(b"@@ "):
            files[-1] += _hunk(line, said)
        elif line.startswith(b"diff --git "):
            files.append(0)
        elif line.startswith((b"new mode ", b"new file mode ")):
            files[-1] += hash(line[-6:])
        elif line.startswith((b"old mode ", b"deleted file mode ")):
            files[-1] -= hash(line[-6:])
        elif line.startswith(b"index "):
            old, _dots, new = line.split(b" ")[1].partition(b"..")
        elif line.startswith(b"Binary files "):
            files[-1] += hash(new) - hash(old)
        elif line and not line.startswith((b"--- ", b"+++ ", b"\\")):
            if pair is not None:
                yield pair, Sums(tuple(files))
            first, _space, second = line.decode().partition(" ")
            pair, files = (first, second), []
    if pair is not None:
        yield pair, Sums(tuple(files))


def _hunk(header: bytes, said: Iterator[bytes]) -> int:
    """Return the sum of one hunk: its header says how many lines it has."""
    _at, old, new, _rest = header.split(b" ", 3)
    left = [int(part.partition(b",")[2] or 1) for part in (old, new)]
    value = 0
    while left[0] > 0 or left[1] > 0:
        line = next(said)
        sign = line[:1]
        if sign == b"+":
            value += hash(line[1:])
            left[1] -= 1
        elif sign == b"-":
            value -= hash(line[1:])
            left[0] -= 1
        elif sign == b" ":
            left[0] -= 1
            left[1] -= 1
    return value


@dataclass
class Hints:
    """Where in the chain which sum stands, and which set of paths."""

    totals: Mapping[int, Sequence[int]]
    files: Mapping[int, Sequence[int]]
    paths: Mapping[frozenset[bytes], Sequence[int]]

    def of(self, touched: Collection[bytes], net: Sums, commits: Sequence[Sums]) -> list[int]:
        """Return the places to try for a lane, best first.

        ``net`` is what the lane did to the paths ``touched`` from its fork to its end, ``commits``
        is what each of its commits did, oldest first.
        """
        wanted = [net, *commits]
        totals = {item.total for item in wanted}
        if len(commits) <= _STRETCHED_COMMITS:
            totals |= set(_stretches([item.total for item in commits]))
        places: Counter[int] = Counter()
        for value in totals:
            # A landing that agrees as a whole goes before all that agree in single files.
            places.update(dict.fromkeys(self.totals.get(value, ())[:_TRIALS], 1 << 20))
        for value in {value for item in wanted for value in item.files} - {0}:
            places.update(self.files.get(value, ())[:_TRIALS])
        best = sorted(places, key=lambda place: (-places[place], place))[:_TRIALS]
        same = self.paths.get(frozenset(touched), ())[:_SAME_PATHS]
        return [*best, *(place for place in same if place not in best)]


def _stretches(totals: Sequence[int]) -> Iterator[int]:
    for first in range(len(totals)):
        yield from itertools.accumulate(totals[first:])


def hints(chain: Mapping[int, Sums], chain_paths: Sequence[Collection[bytes]]) -> Hints:
    """Return the hints of the chain's commits, by their place in it, newest first."""
    paths: dict[frozenset[bytes], list[int]] = {}
    for place in sorted(chain):
        paths.setdefault(frozenset(chain_paths[place]), []).append(place)
    totals: dict[int, list[int]] = {}
    files: dict[int, list[int]] = {}
    for place, sums in sorted(chain.items()):
        totals.setdefault(sums.total, []).append(place)
        for value in set(sums.files):
            files.setdefault(value, []).append(place)
    return Hints(totals, files, paths)
