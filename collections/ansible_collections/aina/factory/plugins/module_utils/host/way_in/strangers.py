"""For whom the SSH server's declared settings do not hold: what others have put into Match blocks.

Without such a block they hold for everybody. With one the server is asked for those whom it
means, and for nobody in particular.
"""

from __future__ import annotations

import functools
import itertools
import pwd
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import root_holders
from .accounts import Effective

# Blocks, and whoever one of them means, of which the server is asked.
MOST_BLOCKS = 20
_MOST_ASKED = 12
_MOST_FILES = 60
_SOMEBODY, _ELSEWHERE = "somebody", "203.0.113.77"
_CRITERIA = {"host": "host", "localaddress": "laddr", "localport": "lport"}
# It is about root alone.
_ROOT_ONLY = "permitrootlogin"


@dataclass(frozen=True)
class Block:
    """A Match line: where it stands, and its criteria, each with its patterns."""

    where: str
    criteria: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        """Return it for people."""
        words = [
            f"{name.capitalize()} {','.join(values)}" for name, values in self.criteria.items()
        ]
        return f"Match {' '.join(words)} in {self.where}"


def read(main: Path, laid_out: Mapping[str, str]) -> list[Block]:
    """Return the Match blocks of a configuration and of what it includes, in their order.

    ``laid_out`` tells the directory by which a file is known from the one in which it was read.
    """
    found: list[Block] = []
    seen: set[Path] = set()
    known = {Path(there): shown for shown, there in laid_out.items()}

    def shown(path: Path) -> str:
        for there, name in known.items():
            if path.is_relative_to(there):
                return f"{name}/{path.relative_to(there)}"
        return str(path)

    def look(path: Path) -> None:
        if path in seen or len(seen) >= _MOST_FILES:
            return
        seen.add(path)
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for number, line in enumerate(lines, 1):
            words = _words(line)
            keyword = words[0].lower() if words else ""
            if keyword == "include":
                for pattern in words[1:]:
                    # Relative ones are below the server's own directory.
                    below = str(Path("/etc/ssh") / pattern).lstrip("/")
                    for included in sorted(Path("/").glob(below)):
                        look(included)
            criteria = _criteria(words[1:]) if keyword == "match" else {}
            if criteria:
                found.append(Block(f"{shown(path)}, line {number}", criteria))

    look(main)
    return found


def _words(line: str) -> list[str]:
    return [
        first or second
        for first, second in re.findall(r'"([^"]*)"|([^\s="]+)', line.partition("#")[0])
    ]


def _criteria(words: Sequence[str]) -> dict[str, list[str]]:
    """Return each criterion with its patterns; nothing for ``Match all``, which holds for all."""
    if [word.lower() for word in words] in ([], ["all"]):
        return {}
    pairs = zip(words[::2], words[1::2], strict=False)
    return {name.lower(): [part for part in value.split(",") if part] for name, value in pairs}


def exempt(
    settings: Mapping[str, str],
    everywhere: Effective,
    blocks: Sequence[Block],
    ask: Callable[[str], Effective],
) -> list[dict[str, str]]:
    """Return for whom which declared settings do not hold, as results list ``consequences``.

    ``everywhere`` is what holds for whoever no block means; ``ask`` is given the words of
    ``sshd -C`` and returns what holds then.
    """
    if not settings:
        return []
    found: dict[str, dict[str, str]] = {}
    answer = functools.cache(ask)
    for block in blocks[:MOST_BLOCKS]:
        for user, words in itertools.islice(_meant(block), _MOST_ASKED):
            actual = answer(words)
            for name in settings:
                keyword = name.lower()
                value, declared = actual.get(keyword), everywhere.get(keyword)
                about_root = keyword == _ROOT_ONLY
                if value == declared or value is None or (about_root and user != "root"):
                    continue
                whom = "some accounts" if user == _SOMEBODY else user
                what = f"{name} {' '.join(value)} for {whom}"
                found.setdefault(
                    f"{what} {block}",
                    {"kind": "exempt", "what": what, "why": f"{block}, which stays as it is"},
                )
    if len(blocks) > MOST_BLOCKS:
        what = f"{len(blocks) - MOST_BLOCKS} more Match blocks of sshd"
        why = "nobody has looked at them: see 'sshd -T -C user=NAME'"
        found[what] = {"kind": "exempt", "what": what, "why": why}
    return list(found.values())


def _meant(block: Block) -> Iterator[tuple[str, str]]:
    """Yield accounts that the block may mean, each with the words by which ``sshd -C`` knows it."""
    users = _users(block)
    addresses = [*map(_address, _wanted(block, "address"))] or [_ELSEWHERE]
    rest = [
        [f"{word}={_name(value)}" for value in _wanted(block, name)]
        for name, word in _CRITERIA.items()
        if name in block.criteria
    ]
    for user, address, *more in itertools.product(users, addresses, *rest):
        given = {item.partition("=")[0] for item in more}
        words = [f"user={user}", f"addr={address}", *more]
        words += [] if "host" in given else [f"host={address}"]
        words += [] if "laddr" in given else ["laddr=127.0.0.1"]
        words += [] if "lport" in given else ["lport=22"]
        yield user, ",".join(words)


def _wanted(block: Block, name: str) -> list[str]:
    return [item for item in block.criteria.get(name, ()) if not item.startswith("!")]


def _users(block: Block) -> list[str]:
    names = [account.pw_name for account in pwd.getpwall()]
    groups = _wanted(block, "group")
    if groups:
        found = [name for group in groups for name in _members(group)]
        return list(dict.fromkeys(found)) or [_SOMEBODY]
    found = []
    for pattern in _wanted(block, "user"):
        if re.search(r"[*?]", pattern):
            found += [name for name in names if _is_like(name, pattern)] or [_name(pattern)]
        else:
            found.append(pattern)
    return list(dict.fromkeys(found)) or ["root", _SOMEBODY]


def _members(pattern: str) -> list[str]:
    return root_holders.members(pattern) if not re.search(r"[*?]", pattern) else []


def _is_like(name: str, pattern: str) -> bool:
    parts = {"*": ".*", "?": "."}
    return bool(re.fullmatch("".join(parts.get(char) or re.escape(char) for char in pattern), name))


def _name(pattern: str) -> str:
    """Return something that a pattern means."""
    return re.sub(r"[*?]", "x", pattern)


def _address(pattern: str) -> str:
    """Return an address that a pattern, or a network, means."""
    if re.search(r"[*?]", pattern):
        parts = [re.sub(r"[*?]+", "1", part) for part in pattern.split(".")]
        return ".".join([*parts, *["1"] * (4 - len(parts))])
    return pattern.partition("/")[0]
