# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run did or would do, on one screen; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..module_utils.base.text import printable

WIDTH = 150
_FAILURE_WIDTH = 400
_NAMED_COUNT = 3
_HOSTS_COUNT = 4
_ITEMS_COUNT = 12
# What a person must know before anything else, in this order: in a plan, and afterwards.
KINDS: Mapping[str, tuple[str, str]] = {
    "unreachable": ("stops being reachable", "is not reachable any more"),
    "removed": ("is removed", "was removed"),
    "moved": ("runs at another time or place", "runs at another time or place"),
    "restarted": ("is restarted", "was restarted"),
    "stopped": ("is stopped", "was stopped"),
    "replaced": ("is replaced, as declared", "was replaced, as declared"),
    "left": ("stays as it was found", "stays as it was found"),
    "exempt": ("stays different for some", "stays different for some"),
    "way_in": ("changes how people come in", "was changed"),
    "root": ("can become root", "can become root"),
}
# Up to the last @ of the word; what follows a host and is a number is its port.
_SECRET = re.compile(r"(://[^\s/:@]*:)(?!\d+(?:[/\s]|$))[^\s\"']*@")
_RESTART = re.compile(r"(?P<verb>restart|stop) (?P<unit>[^()]+) \((?P<why>.*)\)")
_HELPERS = ("aina-factory-", "factory-job-")
_FILE_VERBS = frozenset({"create", "remove", "replace", "write"})
_UNIT_VERBS = frozenset({"enable", "disable", "start", "stop", "restart", "reload"})


def clean(text: str) -> str:
    """Return text without passwords of addresses and without what moves a cursor."""
    return printable(_SECRET.sub(r"\1…@", text))


def cut(text: str, width: int = WIDTH) -> str:
    """Return text that fits into a line of ``width`` characters."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def said(values: Mapping[str, Any]) -> str:
    """Return what a failed task said, as one line."""
    failed = [item for item in values.get("results") or () if isinstance(item, dict)]
    texts = [values, *(item for item in failed if item.get("failed"))]
    words = next((str(item["msg"]) for item in reversed(texts) if item.get("msg")), "")
    return cut(" ".join(words.split()), _FAILURE_WIDTH)


def role_of(task: str) -> str:
    """Return the role in a task's name as Ansible shows it, or the name where there is none."""
    role, colon, _rest = task.partition(" : ")
    return role.rpartition(".")[2] if colon else task


def counted(phrases: Sequence[str]) -> str:
    """Return what phrases say: few in full, many as counts."""
    whole = ", ".join(phrases)
    if len(phrases) <= _NAMED_COUNT and len(whole) <= WIDTH:
        return whole
    files = packages = 0
    units: dict[str, int] = {}
    others: list[str] = []
    for phrase in phrases:
        verb, _space, rest = phrase.partition(" ")
        named = [word for word in rest.partition(" (")[0].split() if "." in word]
        if phrase.startswith("/") or (verb in _FILE_VERBS and rest.startswith("/")):
            files += 1
        elif verb == "install":
            packages += 1
        elif verb in _UNIT_VERBS and named:
            units[verb] = units.get(verb, 0) + len(named)
        elif verb != "daemon-reload":
            others.append(phrase)
    words = [f"install {_many(packages, 'package')}"] if packages else []
    words += [_many(files, "file")] if files else []
    words += [f"{verb} {_many(count, 'unit')}" for verb, count in units.items()]
    words += others[:_NAMED_COUNT]
    if len(others) > _NAMED_COUNT:
        words.append(f"and {len(others) - _NAMED_COUNT} more")
    text = ", ".join(words)
    return text if len(text) <= WIDTH else f"{cut(text, WIDTH - 12)} ({len(phrases)} in all)"


def task_of(name: str) -> str:
    """Return a task's name with its role's short name, as people say it."""
    role, colon, task = name.rpartition(" : ")
    return f"{role.rpartition('.')[2]}: {task}" if colon else task


def restarts(phrases: Iterable[str]) -> list[dict[str, str]]:
    """Return the restarts and ends of services among what was done; helpers of ours are left out."""
    found = []
    for match in filter(None, map(_RESTART.fullmatch, phrases)):
        if not match["unit"].startswith(_HELPERS):
            kind = "restarted" if match["verb"] == "restart" else "stopped"
            found.append({"kind": kind, "what": match["unit"], "why": match["why"]})
    return found


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def hosts(names: Iterable[str]) -> str:
    """Return hosts, the first of many by name."""
    found = list(dict.fromkeys(names))
    shown = ", ".join(found[:_HOSTS_COUNT])
    return shown + (f" and {len(found) - _HOSTS_COUNT} more" if len(found) > _HOSTS_COUNT else "")


def grouped(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return one line for each text, with all hosts of which it is true; pairs are host and text."""
    by_text: dict[str, list[str]] = {}
    for host, text in pairs:
        by_text.setdefault(text, []).append(host)
    return [f"{hosts(names)}: {clean(text)}" for text, names in by_text.items()]


def changes(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one line for each role that changed something; what failed is said beside it."""
    phrases: dict[tuple[str, str], list[str]] = {}
    then: dict[tuple[str, str], str] = {}
    for item in items:
        key = (item["host"], item["role"])
        phrases.setdefault(key, []).extend(item["what"])
        if "then" in item:
            then[key] = item["then"]
    pairs = []
    for (host, role), what in phrases.items():
        words = [role, *([counted(what)] if what else [])]
        if (host, role) in then:
            words.append(f"{'then ' if what else ''}it failed, and {then[host, role]}")
        pairs.append((host, ": ".join(words)))
    return grouped(pairs)


def known(items: Iterable[Mapping[str, str]], *, check_mode: bool) -> list[str]:
    """Return what a person must know first, the gravest first; many of a kind are counted."""
    found: list[str] = []
    all_of_them = list(items)
    for kind, words in KINDS.items():
        of_kind = [item for item in all_of_them if item["kind"] == kind]
        says = words[0 if check_mode else 1]
        if kind == "root":
            holders: dict[str, list[str]] = {}
            for item in of_kind:
                holders.setdefault(item["host"], []).append(f"{item['what']} ({item['why']})")
            of_lines = grouped(
                (host, f"{says}: {', '.join(dict.fromkeys(names))}")
                for host, names in holders.items()
            )
        else:
            of_lines = grouped(
                (item["host"], f"{says}: {item['what']}: {item['why']}") for item in of_kind
            )
        found += of_lines[:_ITEMS_COUNT]
        if len(of_lines) > _ITEMS_COUNT:
            found.append(f"and {len(of_lines) - _ITEMS_COUNT} more: {says}")
    return found


def outcome(
    failed: Iterable[str], unreachable: Iterable[str], waiting_count: int, *, check_mode: bool
) -> str:
    """Return how the run ended, in one sentence; ``failed`` and ``unreachable`` are hosts."""
    bad = [
        f"{hosts(names)} {word}"
        for names, word in ((list(failed), "failed"), (list(unreachable), "did not answer"))
        if names
    ]
    if bad:
        remedy = "mend what FAILED and UNREACHABLE name and run it again: it goes on from there"
        return f"not {'foretold' if check_mode else 'converged'} everywhere: {'; '.join(bad)}; {remedy}"
    done = "nothing was changed" if check_mode else "done"
    waits = "1 thing waits" if waiting_count == 1 else f"{waiting_count} things wait"
    return f"{done}; {waits}, see WAITING" if waiting_count else done
