"""Read what command lines and crontabs run, without running anything; pure.

Only as much of a shell as people write into crontabs. What is not understood is said to be
so and never guessed, since lines are taken away by what is read here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

_MAX_CHARACTERS = 4096
_MAX_DEPTH = 5
_SCHEDULE = re.compile(r"(?:@[A-Za-z]+|(?:\S+[ \t]+){4}\S+)[ \t]+")
_VARIABLE_LINE = re.compile(r"\s*(['\"]?)([A-Za-z_]\w*)\1\s*=\s*(.*)\Z")
# "# PAUSED, and why: 15 4 * * * program" rests; any other comment is no entry.
_RESTING = re.compile(r"(?:\A#+[ \t]*|:[ \t]+)(?=@[a-z]+[ \t]|(?:[\d*][\d*/,-]*[ \t]+){3})")
_TOKEN = re.compile(
    r"(?P<blank>[ \t]+)|(?P<comment>\#[^\n]*)"
    r"|(?P<redirect>(?:\d*(?:<<<|<<|<>|<&|>>|>&|>\||<|>)|&>>|&>))"
    r"|(?P<operator>&&|\|\||\|&|[;&|()\n])"
    r"|(?P<word>(?:\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|\$\([^()]*\)|\$"
    r"|[^\s\\'\"`$;&|()<>])+)",
    re.DOTALL,
)
_PIECE = re.compile(
    r"\\(?P<escaped>.)|'(?P<single>[^']*)'|\"(?P<double>(?:[^\"\\]|\\.)*)\""
    r"|(?P<bare>(?:`[^`]*`|\$\([^()]*\)|[^\\'\"`])+)",
    re.DOTALL,
)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_SUBSTITUTION = re.compile(r"`([^`]*)`|\$\(([^()]*)\)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_LOOPS = ("for", "while", "until", "do", "done", "case", "in", "esac")
_RESERVED = frozenset(("{", "}", "!", "[[", "]]", "if", "then", "elif", "else", "fi", *_LOOPS))
_WITHOUT_EFFECT = frozenset(("exit", "true", ":"))
SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh"))
INTERPRETERS = frozenset(("python", "python3", "perl", "ruby", "node", "php", ".", "source"))
# What starts another program: options that take a value, and words in front of the program.
_STARTERS: Mapping[str, tuple[frozenset[str], int]] = {
    "env": (frozenset(("-u", "--unset", "-C", "--chdir")), 0),
    "nice": (frozenset(("-n", "--adjustment")), 0),
    "ionice": (frozenset(("-c", "--class", "-n", "--classdata")), 0),
    "timeout": (frozenset(("-k", "--kill-after", "-s", "--signal")), 1),
    "flock": (frozenset(("-w", "--wait", "--timeout", "-E", "--conflict-exit-code")), 1),
    "sudo": (frozenset(("-u", "--user", "-g", "--group", "-h", "-p", "-C", "-D", "-T")), 0),
    "doas": (frozenset(("-u", "-C")), 0),
    "runuser": (frozenset(("-u", "--user", "-g", "--group")), 0),
    "stdbuf": (frozenset(("-i", "-o", "-e")), 0),
    "systemd-cat": (frozenset(("-t", "--identifier", "-p", "--priority")), 0),
    "systemd-run": (frozenset(("-p", "--property", "-u", "--unit", "-E", "--setenv")), 0),
    "exec": (frozenset(("-a",)), 0),
    "time": (frozenset(("-f", "--format", "-o", "--output")), 0),
    "chpst": (frozenset(("-u", "-U", "-b", "-e", "-n", "-l", "-L", "-m", "-o")), 0),
    "cpulimit": (frozenset(("-l", "--limit")), 0),
    "xvfb-run": (frozenset(("-e", "-f", "-n", "-p", "-s", "-w")), 0),
    "proxychains": (frozenset(("-f",)), 0),
    "proxychains4": (frozenset(("-f",)), 0),
    **dict.fromkeys(
        (
            *("command", "chronic", "cronic", "dbus-run-session", "eatmydata", "nocache", "nohup"),
            *("run-one", "run-this-one", "keep-one-running", "setsid", "torsocks", "unbuffer"),
        ),
        (frozenset[str](), 0),
    ),
    **dict.fromkeys(
        (
            *("chrt", "envdir", "gosu", "logsave", "s6-setuidgid", "setlock", "setuidgid"),
            *("taskset", "with-lock-ex"),
        ),
        (frozenset[str](), 1),
    ),
}


@dataclass
class Reading:
    """What a command line runs: per program its words, what starts it left out.

    ``is_whole``: everything in it was understood. ``words``: all there are. Where its
    directory is known, a word that is a path is made absolute.
    """

    commands: list[tuple[str, ...]] = field(default_factory=list)
    is_whole: bool = True
    words: set[str] = field(default_factory=set)

    @property
    def only(self) -> tuple[str, ...]:
        """The words of the one program that the line runs; empty where it does more."""
        return self.commands[0] if self.is_whole and len(self.commands) == 1 else ()

    def add(self, other: Reading) -> None:
        """Take up what a line within this line runs."""
        self.commands += other.commands
        self.is_whole = self.is_whole and other.is_whole
        self.words |= other.words


@dataclass(frozen=True)
class CrontabEntry:
    """One entry of a crontab; one that a comment holds is not live."""

    command: str
    variables: Mapping[str, str]
    is_live: bool
    at_boot: bool = False

    @property
    def reading(self) -> Reading:
        """What it runs. A bare ``%`` ends the command; what follows is its input."""
        text, _percent, stdin = self.command.replace("\\%", "\0").partition("%")
        found = read(text.replace("\0", "%"), self.variables, self.variables.get("HOME", ""))
        found.is_whole = found.is_whole and not stdin
        return found


def entries(
    text: str,
    user: str | None,
    home_of: Callable[[str], str],
    schedule: re.Pattern[str] = _SCHEDULE,
) -> Iterator[tuple[str, CrontabEntry | None]]:
    """Return each line of a crontab as it stands there, and the entry that it is.

    ``user``: whose it is; ``None`` where each line names its user before the command.
    """
    variables: dict[str, str] = {}
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        bare, is_live = line.strip(), True
        if bare.startswith("#"):
            resting = _RESTING.search(bare)
            bare, is_live = bare[resting.end() :] if resting else "", False
        elif assigned := _VARIABLE_LINE.match(bare):
            value = assigned[3]
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            variables[assigned[2]] = value[1:-1] if quoted else value
            bare = ""
        times = schedule.match(bare)
        command = bare[times.end() :] if times else ""
        owner = user or ""
        if user is None and (named := re.match(r"([^\s/]+)[ \t]+", command)):
            owner, command = named[1], command[named.end() :]
        if not command.strip():
            yield line, None
            continue
        home = variables.get("HOME") or home_of(owner)
        known = {**variables, **({"HOME": home} if home else {})}
        yield (
            line,
            CrontabEntry(command.strip(), known, is_live, bare.lower().startswith("@reboot")),
        )


def read(
    text: str, variables: Mapping[str, str] | None = None, directory: str = "", depth: int = 0
) -> Reading:
    """Return what a shell in ``directory`` would run of ``text``."""
    result, known = Reading(), dict(variables or {})
    if depth > _MAX_DEPTH or len(text) > _MAX_CHARACTERS:
        result.is_whole = False
        return result
    words: list[str] = []
    position, is_target, is_written = 0, False, False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            result.is_whole = False
            break
        position = match.end()
        if match["operator"]:
            directory = _run(words, known, directory, result, depth, is_written=is_written)
            words, is_written = [], False
        elif match["redirect"]:
            is_target = is_written = True
            result.is_whole = result.is_whole and "<<" not in match[0]
        elif match["word"]:
            for inner in _SUBSTITUTION.finditer(match[0]):
                result.add(read(inner[1] or inner[2] or "", known, directory, depth + 1))
                result.is_whole = False
            word = _value(match[0], known)
            if is_target:
                result.words.add(_path(word, directory))
            else:
                words.append(word)
            is_target = False
    _run(words, known, directory, result, depth, is_written=is_written)
    return result


def _run(
    words: list[str],
    variables: dict[str, str],
    directory: str,
    result: Reading,
    depth: int,
    *,
    is_written: bool,
) -> str:
    """Add what one simple command starts; return the directory in which the next one runs."""
    assigned = []
    while words and (words[0] in _RESERVED or _ASSIGNMENT.match(words[0])):
        if words[0] in _RESERVED:
            result.is_whole = False
        else:
            assigned.append(words[0])
        words = words[1:]
    if not words:
        variables.update(
            (name, value) for name, _sign, value in (t.partition("=") for t in assigned)
        )
    if not words or words[0] in (*_WITHOUT_EFFECT, "cd"):
        # A redirection alone writes a file too.
        result.is_whole = result.is_whole and not is_written
    if not words or words[0] in _WITHOUT_EFFECT:
        return directory
    if words[0] == "cd":
        target = words[1] if len(words) == 2 else "" if words[1:] else variables.get("HOME", "")
        path = _path(target, directory, bare=True)
        result.words.add(path)
        return path if path.startswith("/") else ""
    result.words |= {_path(word, directory) for word in words}
    program, text, in_directory = _started(words)
    if text is not None:
        result.add(read(text, variables, directory, depth + 1))
    elif program:
        first = _path(program[0], directory, bare=in_directory)
        result.words.add(first)
        result.commands.append((first, *program[1:]))
    else:
        result.commands.append(tuple(words))
    return directory


def _started(words: list[str]) -> tuple[list[str], str | None, bool]:
    """Return the program with its arguments, or a shell's text instead, behind what starts it.

    The last: whether a name without a directory lies in the present one.
    """
    while words:
        name = posixpath.basename(words[0])
        if name in ("su", "runuser", "sg") and "-c" in words[:-1]:
            return [], words[words.index("-c") + 1], False
        if name == "eval":
            return [], " ".join(words[1:]), False
        if name in _STARTERS:
            options, count = _STARTERS[name]
        elif name in SHELLS or name in INTERPRETERS:
            options, count = frozenset(("-o", "-O", "-W", "-X")), 0
        else:
            break
        rest = words[1:]
        while rest and rest[0].startswith("-") and rest[0] != "--":
            is_text = name in SHELLS and re.match(r"-[a-z]*c\Z", rest[0])
            if is_text:
                return [], rest[1] if rest[1:] else "", False
            if name in INTERPRETERS:  # a module, or code
                return words, None, False
            rest = rest[2:] if rest[0] in options else rest[1:]
        rest = rest[1:] if rest[:1] == ["--"] else rest
        rest = rest[count:]
        if name == "flock" and rest[:1] in (["-c"], ["--command"]):
            return [], rest[1] if rest[1:] else "", False
        while name in ("env", "sudo") and rest and _ASSIGNMENT.match(rest[0]):
            rest = rest[1:]
        if name in SHELLS or name in INTERPRETERS:
            return rest or words, None, bool(rest)
        words = rest
    return words, None, False


def _value(text: str, variables: Mapping[str, str]) -> str:
    """Return what a shell makes of a word, as far as it can be told."""

    def expanded(part: str) -> str:
        return _VARIABLE.sub(lambda name: variables.get(name[1] or name[2], name[0]), part)

    parts = []
    for piece in _PIECE.finditer(text):
        if piece["bare"] is not None:
            parts.append(expanded(piece["bare"]))
        elif piece["double"] is not None:
            parts.append(re.sub(r'\\(["\\$`])', r"\1", expanded(piece["double"])))
        else:
            parts.append(piece["escaped"] or piece["single"] or "")
    word, home = "".join(parts), variables.get("HOME", "")
    return home + word[1:] if home and (text == "~" or text.startswith("~/")) else word


def _path(word: str, directory: str, *, bare: bool = False) -> str:
    """Return a word as an absolute path where it is one; ``bare``: also a name alone."""
    if word.startswith("/"):
        return "/" + posixpath.normpath(word).lstrip("/")
    is_relative = ("/" in word or bare) and not word.startswith(("~", "-", "$", "`"))
    if word and is_relative and directory.startswith("/"):
        return posixpath.normpath(posixpath.join(directory, word))
    return word
