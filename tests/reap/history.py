"""A history of real size and shape, with lanes made from its own commits.

The shape is that of a library on GitHub: some thousand squash merges, each of a few files of
some hundred lines; versions that are raised, files that come, go and are renamed. Lanes are
commits of it put on an older base, in several commits; a twin of each differs by one thing that
never landed. Every line has its own text, so that who made a history knows what landed in it,
and asks no git for it.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# What became of a lane: whether its work is on the default branch.
LANDED = ("squash", "squash_of_an_old_base", "rebased", "merged_main_in")
OPEN = ("a_later_commit", "an_altered_line", "one_more_file", "half_of_it_and_more")

# Lanes begin no further back.
_DEPTH = 1500

Tree = dict[str, list[str]]


@dataclass
class Edit:
    """What one commit did: lines put after a line, lines replaced, new files."""

    inserted: list[tuple[str, str, list[str]]] = field(default_factory=list)
    replaced: list[tuple[str, str, str]] = field(default_factory=list)
    made: dict[str, list[str]] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        """The files that it touched."""
        edits = [path for path, *_rest in (*self.inserted, *self.replaced)]
        return sorted({*edits, *self.made})

    def on(self, tree: Tree, only: set[str] | None = None) -> Tree | None:
        """Return ``tree`` with this edit; nothing where it does not fit."""
        result = dict(tree)
        for path, lines in self.made.items():
            if only is None or path in only:
                result[path] = lines
        for path, old, new in self.replaced:
            if only is None or path in only:
                if old not in result.get(path, ()):
                    return None
                result[path] = [new if line == old else line for line in result[path]]
        for path, after, lines in self.inserted:
            if only is None or path in only:
                if after not in result.get(path, ()):
                    return None
                place = result[path].index(after) + 1
                result[path] = [*result[path][:place], *lines, *result[path][place:]]
        return result


@dataclass
class History:
    """Where it lies, and per lane's branch whether its work has landed."""

    repository: Path
    labels: dict[str, bool]


class _Writer:
    """Writes commits for ``git fast-import``."""

    def __init__(self, stream: Path) -> None:
        self._file = stream.open("w", encoding="utf-8")
        self._marks = 0

    def commit(
        self, branch: str, before: int | None, changes: Tree, merged: int | None = None
    ) -> int:
        self._marks += 1
        message = f"Work {self._marks}"
        self._file.write(f"commit refs/heads/{branch}\nmark :{self._marks}\n")
        self._file.write(f"committer A <a@example.com> {1_700_000_000 + self._marks} +0000\n")
        self._file.write(f"data {len(message)}\n{message}\n")
        if before is not None:
            self._file.write(f"from :{before}\n")
        if merged is not None:
            self._file.write(f"merge :{merged}\n")
        for path, lines in changes.items():
            text = "".join(f"{line}\n" for line in lines)
            self._file.write(f"M 100644 inline {path}\ndata {len(text.encode())}\n{text}\n")
        return self._marks

    def close(self) -> None:
        self._file.close()


def build(root: Path, *, commits: int, files: int, lanes: int, seed: int) -> History:
    """Make an origin, a clone of it, and in the clone one branch per lane."""
    chance = random.Random(seed)  # noqa: S311 - the same again for the same seed
    root.mkdir(exist_ok=True)
    writer = _Writer(root / "stream")
    tree: Tree = {
        f"src/part{number % 23}/file{number}.ts": [
            f"const v{number}_{line} = {chance.getrandbits(40)}"
            for line in range(chance.randint(20, 250))
        ]
        for number in range(files)
    }
    trees, marks, edits = [tree], [writer.commit("main", None, tree)], [Edit()]
    for number in range(1, commits):
        edit = _edit(chance, trees[-1], number)
        after = edit.on(trees[-1])
        assert after is not None
        marks.append(writer.commit("main", marks[-1], {path: after[path] for path in edit.paths}))
        trees.append(after)
        edits.append(edit)
        if number > _DEPTH:
            trees[number - _DEPTH] = {}
    labels = dict(_lanes(chance, writer, trees, marks, edits, lanes))
    return _imported(root, writer, labels)


def wide(root: Path, *, files: int, lanes: int) -> History:
    """Make lanes that began before one commit of the default branch changed every file."""
    root.mkdir(exist_ok=True)
    writer = _Writer(root / "stream")
    tree: Tree = {
        f"src/part{number % 97}/file{number}.ts": [f"{number}"] for number in range(files)
    }
    first = tip = writer.commit("main", None, tree)
    tip = writer.commit("main", tip, {path: [*lines, "formatted"] for path, lines in tree.items()})
    labels = {}
    for number in range(lanes):
        branch, path = f"lane{number:04}", f"src/part{number % 97}/new{number}.ts"
        labels[branch] = number % 2 == 0
        changes = {path: [f"new {number}"]}
        writer.commit(branch, first, changes)
        if labels[branch]:
            tip = writer.commit("main", tip, changes)
    return _imported(root, writer, labels)


def _imported(root: Path, writer: _Writer, labels: dict[str, bool]) -> History:
    writer.close()
    stream = root / "stream"
    origin, repository = root / "origin.git", root / "repository"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", origin], check=True)
    with stream.open("rb") as said:
        subprocess.run(["git", "-C", origin, "fast-import", "--quiet"], stdin=said, check=True)
    stream.unlink()
    subprocess.run(["git", "clone", "-q", "--mirror", origin, repository], check=True)
    for branch in labels:
        subprocess.run(
            ["git", "-C", origin, "update-ref", "-d", f"refs/heads/{branch}"], check=True
        )
    return History(repository, labels)


def _edit(chance: random.Random, tree: Tree, number: int) -> Edit:
    edit = Edit()
    known = list(tree)
    # Some files are in every second change, most are left alone for years.
    count = chance.choice((1, 1, 2, 3, 4, 8))
    for path in sorted({known[int(len(known) * chance.random() ** 3)] for _n in range(count)}):
        lines = tree[path]
        anchor = chance.choice(lines)
        if chance.random() < 0.5:
            edit.replaced.append((path, anchor, f"changed_by({number}, '{path}')"))
        else:
            new = [f"added_by({number}, {line})" for line in range(chance.randint(1, 9))]
            # Lines that are everywhere say nothing, and are in every real change.
            edit.inserted.append((path, anchor, [*new, "  }", ""]))
    if chance.random() < 0.15:
        edit.made[f"src/new/file{number}.ts"] = [f"new({number}, {n})" for n in range(40)]
    return edit


def _lanes(
    chance: random.Random,
    writer: _Writer,
    trees: list[Tree],
    marks: list[int],
    edits: list[Edit],
    count: int,
) -> Iterator[tuple[str, bool]]:
    kinds = [*LANDED, *OPEN]
    places = [place for place in range(len(trees) - 1, 1, -1) if trees[place]]
    chance.shuffle(places)
    made = 0
    for place in places * 9:
        if made == count:
            return
        kind = kinds[made % len(kinds)]
        back = 1 if kind == "squash" else min(place, chance.randint(3, 40))
        base, edit = place - back, edits[place]
        half = set(edit.paths[: (len(edit.paths) + 1) // 2])
        if not trees[base] or (kind.startswith("half") and len(edit.paths) < 2):
            continue
        if not _is_apart(edit, trees[base], trees[place - 1]):
            continue  # a merge would conflict: who landed it had to decide something
        branch = f"lane{made:04}"
        if _one(writer, branch, kind, edit, half, trees, marks, base, place):
            made += 1
            yield branch, kind in LANDED


def _is_apart(edit: Edit, base: Tree, before: Tree) -> bool:
    """Whether nobody else changed the lines around those that the edit is at."""
    places = [
        *((p, anchor) for p, anchor, _l in edit.inserted),
        *((p, o) for p, o, _n in edit.replaced),
    ]
    return all(
        path in base and path in before and _around(base[path], line) == _around(before[path], line)
        for path, line in places
    )


def _around(lines: list[str], line: str) -> list[str] | None:
    if line not in lines:
        return None
    place = lines.index(line)
    return [
        *lines[max(0, place - 3) : place + 4],
        str(min(place, 3)),
        str(min(len(lines) - place, 4)),
    ]


def _one(
    writer: _Writer,
    branch: str,
    kind: str,
    edit: Edit,
    half: set[str],
    trees: list[Tree],
    marks: list[int],
    base: int,
    place: int,
) -> bool:
    first = edit.on(trees[base], half)
    whole = edit.on(trees[base])
    if first is None or whole is None:
        return False
    rest = [path for path in edit.paths if path not in half]
    if kind == "half_of_it_and_more":
        rest = []
    mark = writer.commit(branch, marks[base], {path: first[path] for path in sorted(half)})
    end = first if kind == "half_of_it_and_more" else whole
    if kind == "merged_main_in":
        merged = edit.on(trees[place - 1], half)
        assert merged is not None
        brought = {p: lines for p, lines in merged.items() if first.get(p) != lines}
        mark = writer.commit(branch, mark, brought, marks[place - 1])
        end = edit.on(trees[place - 1]) or {}
    if rest:
        mark = writer.commit(branch, mark, {path: end[path] for path in rest})
    if kind == "a_later_commit":
        writer.commit(branch, mark, {"notes.md": ["a thought that never landed"]})
    elif kind == "one_more_file":
        writer.commit(branch, mark, {f"{branch}.txt": ["x"]})
    elif kind in {"an_altered_line", "half_of_it_and_more"}:
        path = edit.paths[0]
        writer.commit(branch, mark, {path: [*end[path], "// never landed"]})
    return True
