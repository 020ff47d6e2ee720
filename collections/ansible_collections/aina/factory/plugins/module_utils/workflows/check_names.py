"""Under which names the jobs of a workflow report, as a rule of a branch may require them.

A name is a tuple of texts, between which stands what only a run knows: ``("test (", ")")``
means any check that begins and ends like that.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from . import matrix
from .document import Document, Node, NodeKind
from .semantics import Neighbours, jobs

Name = tuple[str, ...]
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
_AXIS = re.compile(r"\$\{\{\s*matrix\.([\w-]+(?:\.[\w-]+){0,3})\s*\}\}\Z")
_NAMES_MAX_COUNT = 500  # of one workflow; GitHub allows 256 jobs of one matrix
_MAX_DEPTH = 10
_ANYTHING: Name = ("", "")


def check_names(document: Document, others: Neighbours) -> list[Name]:
    """Return the names of all checks that a workflow reports, those of called workflows too."""
    found = list(itertools.islice(_names(document, others, "", 0), _NAMES_MAX_COUNT + 1))
    return [*found[:_NAMES_MAX_COUNT], _ANYTHING] if len(found) > _NAMES_MAX_COUNT else found


def is_computed(name: Name) -> bool:
    """Whether only a run knows the name."""
    return len(name) > 1


def may_be(name: Name, check: str) -> bool:
    """Whether a check of this text may be the one that reports under ``name``."""
    if len(name) == 1:
        return name[0] == check
    first, *between, last = name
    if len(check) < len(first) + len(last) or not check.startswith(first):
        return False
    at, end = len(first), len(check) - len(last)
    for part in between:
        at = check.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return check.endswith(last)


def required(names: Iterable[Name], checks: Iterable[str]) -> tuple[str, str]:
    """Return a check that is required and reported here, and one that may be; "" for none."""
    sure, unsure = "", ""
    checks = list(checks)
    for name in names:
        for check in checks:
            if may_be(name, check):
                sure, unsure = (sure, check) if is_computed(name) else (check, unsure)
    return sure, unsure


def _names(document: Document, others: Neighbours, home: str, depth: int) -> Iterator[Name]:
    for key, job in jobs(document):
        own = _of_job(document, key, job)
        called = document.get(job, "uses")
        if called is None:
            yield from own
            continue
        callee, elsewhere = others.called(called.value, home)
        inner: Iterator[Name] = iter(())
        if not isinstance(callee, str) and depth < _MAX_DEPTH:
            inner = _names(callee, others, elsewhere, depth + 1)
        for name in itertools.chain([next(inner, _ANYTHING)], inner):
            for caller in own:
                yield _joined(caller, (" / ",), name)


def _of_job(document: Document, key: str, job: Node) -> list[Name]:
    given = document.get(job, "name")
    text = given.value if given is not None and given.kind is NodeKind.SCALAR else ""
    strategy = document.get(job, "strategy")
    has_matrix = strategy is not None and document.entry(strategy, "matrix") is not None
    if not _EXPRESSION.search(text):
        # GitHub writes the values of a matrix behind a name that does not say them.
        plain = (text or key,)
        return [plain, (f"{plain[0]} (", ")")] if has_matrix else [plain]
    parts: list[list[Name]] = []
    at = 0
    for found in _EXPRESSION.finditer(text):
        parts.append([(text[at : found.start()],)])
        axis = _AXIS.match(found[0])
        values = matrix.axis(document, job, axis[1].split(".")) if axis else []
        parts.append([(value,) for value in values] or [_ANYTHING])
        at = found.end()
    parts.append([(text[at:],)])
    combinations = itertools.islice(itertools.product(*parts), _NAMES_MAX_COUNT + 1)
    return [_joined(*chosen) for chosen in combinations]


def _joined(*parts: Name) -> Name:
    """Put names behind each other; what is unknown on both sides of nothing is one thing."""
    whole: list[str] = [""]
    for part in parts:
        whole[-1] += part[0]
        whole += part[1:]
    return (whole[0], *(text for text in whole[1:-1] if text), *whole[1:][-1:])
