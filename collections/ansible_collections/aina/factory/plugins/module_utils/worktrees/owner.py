"""Work in a repository as the account that owns it.

Whatever the owner of a directory can rename, he can replace by a link while somebody else
looks. Root therefore does nothing by name there: a child process that has become the owner
does, and can do no more than he. Root keeps what needs root, and answers the child's
questions: which processes sit where, and what GitHub says to root's token.
"""

from __future__ import annotations

import codecs
import ctypes
import fcntl
import glob
import json
import os
import pwd
import queue
import re
import resource
import signal
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from ..base import locks, paths, presence
from ..base.git import GitError
from ..base.paths import PathError
from ..base.ports import Completed, Run
from ..base.processes import stat as process_stat
from ..base.trust import REPOSITORY_PARTS, changeable_by_others
from . import reap, survey, trash

# What the child does and returns; the value goes through JSON.
Work = Callable[[reap.ReapTools], Any]

# A walk over one large tree is the longest that the child says nothing.
_SILENCE_SECONDS = 1800.0
_LOOK_SECONDS = 5.0
# Whatever the owner's files make git do; the next run goes on with what is left.
_WORK_SECONDS = 4 * 3600
_MESSAGE_BYTES = 64 << 20
_ANSWER_BYTES = 1 << 20
# Two thousand lanes take 150 MB; git holds a file of half a gigabyte as a whole. A pack that it
# maps does not count.
_DATA_BYTES = 1 << 30
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
# The rest of root's environment, tokens among it, is nothing for a program of the owner.
_ENVIRONMENT = re.compile(
    r"PATH|LANG|LC_.*|TZ|GIT_CONFIG_(NOSYSTEM|SYSTEM|GLOBAL)|GIT_SSL_CA.*|SSL_CERT_(FILE|DIR)"
    r"|(?i:https?_proxy|no_proxy|all_proxy)"
)
_OBJECT_ID = re.compile(r"[0-9a-f]{40,64}")
_ERRORS: Mapping[str, type[Exception]] = {
    error.__name__: error
    for error in (
        GitError,
        OSError,
        trash.TrashError,
        trash.NotThereError,
        locks.LockFileError,
    )
}


@dataclass(frozen=True)
class _Account:
    uid: int
    gid: int
    name: str | None
    home: str


def act(repository: str, tools: reap.ReapTools, work: Work) -> Any:
    """Return ``work(tools)``, done as the owner of ``repository`` when root calls.

    Raises:
        GitError: its parts belong to several accounts, somebody else can change what is
            root's, or the child did not end well.
        Exception: what ``work`` raises.

    """
    account = _account(repository, tools.run)
    return work(tools) if account is None else _in_child(account, repository, tools, work)


def empty(
    repository: str, tools: reap.ReapTools, before: float, early: Collection[str] = ()
) -> list[str]:
    """Delete what was reaped before ``before`` (seconds since the epoch), or is one of ``early``.

    Returns problems; ``early`` are tokens of entries.

    What others, root in a container for one, have put into a tree its owner cannot remove:
    root does, by descriptors that follow no link.

    Raises:
        GitError: see :func:`act`.

    """

    def work(here: reap.ReapTools) -> list[list[str]]:
        common_dir = survey.common_directory(here.run, repository)
        problems = trash.empty(common_dir, before, here.run, here.occupants, early)
        return [problems, trash.half_deleted(common_dir) if problems else []]

    problems: list[str]
    account = _account(repository, tools.run)
    problems, left = act(repository, tools, work)
    if account is not None and left:
        refused = [problem for tree in left if (problem := _removed_by_root(tree, account))]
        problems, _left = act(repository, tools, work)
        problems += refused
    return problems


def _removed_by_root(tree: str, account: _Account) -> str | None:
    parent, _slash, name = tree.rpartition("/")
    trashed = parent.rpartition("/")[2].startswith(trash.TREE_TRASH)
    ours = trashed and name.endswith(trash.DELETING)
    try:
        with paths.opened(parent) as directory:
            if not ours or ".." in tree.split("/") or os.fstat(directory).st_uid != account.uid:
                return f"{tree}: it is no deleted worktree of {_user(account.uid)}"
        for found in paths.entries(parent, [glob.escape(name)]):
            if not paths.remove(found):
                return f"{tree}: somebody changes it; run again"
    except (PathError, OSError, RecursionError) as error:
        return f"{tree}: {error}"
    return None


@contextmanager
def alone(repository: str, tools: reap.ReapTools, purpose: str) -> Iterator[None]:
    """Hold the caller's lock of ``repository`` for ``purpose``.

    Raises:
        LockedError: another process of the caller holds it.
        LockFileError: its file cannot be trusted.
        GitError: see :func:`act`.

    """
    common_dir = act(repository, tools, lambda here: survey.common_directory(here.run, repository))
    with locks.exclusive(reap.lock_path(common_dir, purpose)):
        yield


def act_alone(
    repository: str, tools: reap.ReapTools, purpose: str, work: Callable[[reap.ReapTools, str], Any]
) -> Any:
    """Return ``work(tools, git directory)`` as :func:`act` does, one at a time per ``purpose``.

    Root's lock lies with root, where the owner can neither take nor hold it. The owner's lies
    in the repository and is taken by himself and by root's child: so each excludes the other.

    Raises:
        LockedError: another process of the caller is at it.
        LockFileError: a lock's file cannot be trusted.
        GitError: see :func:`act`; also where the owner himself is at it.
        Exception: what ``work`` raises.

    """

    def locked(here: reap.ReapTools) -> Any:
        common_dir = survey.common_directory(here.run, repository)
        with locks.exclusive(reap.lock_path(common_dir, purpose)):
            return work(here, common_dir)

    account = _account(repository, tools.run)
    if account is None:
        return locked(tools)
    with alone(repository, tools, purpose):
        return _in_child(account, repository, tools, locked)


def _account(repository: str, run: Run) -> _Account | None:
    """Return whom to become; None: the work is done as the caller."""
    if os.geteuid() != 0:
        return None
    owners: dict[int, str] = {}
    for path in (repository, f"{repository}/.git"):
        for look in (os.lstat, os.stat):
            with suppress(FileNotFoundError, NotADirectoryError):
                status = look(path)
                owners.setdefault(status.st_uid, path)
                group = status.st_gid
    if len(owners) > 1:
        names = ", ".join(f"{path} to {_user(uid)}" for uid, path in owners.items())
        raise GitError(f"its parts have several owners: {names}; make them belong to one account")
    if not owners:
        return None  # git says what is wrong
    uid = next(iter(owners))
    if uid == 0:
        _refuse_what_others_change(repository, run)
        return None
    try:
        known = pwd.getpwuid(uid)
    except KeyError:  # files of a user who is gone
        return _Account(uid, group, None, "/nonexistent")
    return _Account(uid, known.pw_gid, known.pw_name, known.pw_dir)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _refuse_what_others_change(repository: str, run: Run) -> None:
    """Git obeys its settings and Python follows names: as root only where both are root's."""
    clean: set[str] = set()

    def refuse(*places: str) -> None:
        for place in places:
            part = changeable_by_others(place, clean)
            if part is not None:
                raise GitError(
                    f"{part} can be changed by others than root, and root would act on it; make "
                    f"all of {repository} belong to one account"
                )

    refuse(os.path.abspath(repository))  # noqa: PTH100 - links are looked at one by one
    common_dir = survey.common_directory(run, repository)
    refuse(common_dir, *_parts(common_dir, REPOSITORY_PARTS))
    refuse(*survey.included_settings(run, common_dir))


def _parts(directory: str, patterns: Iterable[str]) -> list[str]:
    found = []
    for pattern in patterns:
        below = [directory]
        for step in pattern.split("/"):
            below = [
                entry.path
                for place in below
                if Path(place).is_dir()
                for entry in os.scandir(place)
                if step in {"*", entry.name}
            ]
            found += below
    return found


def _in_child(account: _Account, repository: str, tools: reap.ReapTools, work: Work) -> Any:
    child_reads, writes = os.pipe()
    reads, child_writes = os.pipe()
    with suppress(OSError):  # an answer always fits: root never waits for the child to read
        fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, _ANSWER_BYTES)
    os.set_blocking(writes, False)
    # The owner may not be able to read where root's Python, or the module, lies.
    for encoding in ("ascii", "utf-8", "latin-1"):
        codecs.lookup(encoding)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _be_the_child(account, parent, child_reads, child_writes, tools, work)
    os.close(child_reads)
    os.close(child_writes)
    messages: queue.Queue[bytes] = queue.Queue()
    reader = threading.Thread(target=_receive, args=(reads, messages), daemon=True)
    reader.start()
    with ExitStack() as end:
        end.callback(os.close, writes)
        end.callback(reader.join)
        end.callback(os.waitpid, child, 0)
        end.callback(_kill, child)
        try:
            return _attend(child, writes, messages, tools)
        except _BrokenError as error:
            raise GitError(f"the work as {_user(account.uid)} in {repository} {error}") from error


class _BrokenError(Exception):
    """The child did not do its part; the message says in what way."""


def _kill(child: int) -> None:
    for send in (os.killpg, os.kill):  # with what it has started
        with suppress(ProcessLookupError, PermissionError):
            send(child, signal.SIGKILL)


def _receive(reads: int, messages: queue.Queue[bytes]) -> None:
    with os.fdopen(reads, "rb") as stream:
        while line := stream.readline(_MESSAGE_BYTES):
            messages.put(line)
    messages.put(b"")


def _attend(child: int, writes: int, messages: queue.Queue[bytes], tools: reap.ReapTools) -> Any:
    """Answer the child until it has a result."""
    patience, waited = _SILENCE_SECONDS, 0.0
    while True:
        try:
            line = messages.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            waited += _LOOK_SECONDS
            if _is_stopped(child):
                raise _BrokenError("was stopped by somebody") from None
            if waited >= patience:
                raise _BrokenError(f"said nothing for {waited:.0f} s") from None
            continue
        waited = 0.0
        if not line.endswith(b"\n"):
            raise _BrokenError("ended too early" if not line else "said too much")
        kind, *words = json.loads(line)
        if kind == "result":
            return words[0]
        if kind == "error":
            name, message = words
            raise _ERRORS.get(name, GitError)(message if name in _ERRORS else f"{name}: {message}")
        if kind == "progress":
            tools.progress(*words)
        elif kind == "running":
            patience = max(patience, _SILENCE_SECONDS + float(words[0]))
        elif kind == "occupants":
            found = tools.occupants(words[0])
            inside = {path: names[:5] for path, names in found.inside.items()}
            _answer(writes, [inside, found.unknown[:5]])
        elif kind == "merged_pull_requests" and tools.merged_pull_requests is not None:
            heads = [head for head in words[0] if _OBJECT_ID.fullmatch(head)]
            _answer(writes, dict(tools.merged_pull_requests(heads)))
        else:
            raise _BrokenError(f"asked for {kind}")


def _answer(writes: int, document: Any) -> None:
    data = json.dumps(document).encode() + b"\n"
    try:
        written = os.write(writes, data)
    except OSError:
        written = 0
    if written < len(data):
        raise _BrokenError("did not take an answer")


def _is_stopped(child: int) -> bool:
    return process_stat(child)[:1] in (["T"], ["t"])


def _be_the_child(
    account: _Account, parent: int, reads: int, writes: int, tools: reap.ReapTools, work: Work
) -> NoReturn:
    try:
        link = _Link(reads, writes)
        try:
            _leave_everything_of_root(account, parent, {reads, writes})
            result = work(link.tools(tools))
            link.tell("result", result)
        except Exception as error:
            builtin = isinstance(error, OSError) and type(error).__module__ == "builtins"
            link.tell("error", "OSError" if builtin else type(error).__name__, str(error))
    finally:
        os._exit(0)


def _leave_everything_of_root(account: _Account, parent: int, kept: set[int]) -> None:
    os.setsid()  # no terminal: what is written to it would be typed by root
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    # A lock stays held as long as anybody has its file open.
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        if number > 2 and number not in kept:
            with suppress(OSError):
                os.close(number)
    if account.name is None:
        os.setgroups([])
    else:
        os.initgroups(account.name, account.gid)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    if os.getresuid() != (account.uid,) * 3 or os.getresgid() != (account.gid,) * 3:
        raise PermissionError(f"user {account.uid} could not be become")
    kernel = ctypes.CDLL(None, use_errno=True)
    for option, value in (
        (_PR_SET_DUMPABLE, 0),  # nobody reads or steers it, the owner neither
        (_PR_SET_NO_NEW_PRIVS, 1),
        (_PR_SET_PDEATHSIG, signal.SIGKILL),
    ):
        if kernel.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        raise PermissionError("root's process has ended")
    signal.alarm(_WORK_SECONDS)
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA_BYTES, _DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in [name for name in os.environ if not _ENVIRONMENT.fullmatch(name)]:
        del os.environ[name]
    os.environ.update(HOME=account.home, XDG_CONFIG_HOME=f"{account.home}/.config")
    tempfile.tempdir = None  # root's own may be closed to others
    os.chdir("/")


class _Link:
    """The child's end: questions to root, and what root wants to know meanwhile."""

    def __init__(self, reads: int, writes: int) -> None:
        self._replies = os.fdopen(reads, "rb")
        self._writes = os.fdopen(writes, "wb")
        self._one_at_a_time = threading.Lock()

    def tell(self, *message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._one_at_a_time:
            self._writes.write(data)
            self._writes.flush()

    def ask(self, *message: Any) -> Any:
        self.tell(*message)
        return json.loads(self._replies.readline())

    def tools(self, tools: reap.ReapTools) -> reap.ReapTools:
        """Return the tools with which the child works."""

        def run(argv: Sequence[str | bytes], **options: Any) -> Completed:
            self.tell("running", options.get("timeout_seconds") or 0.0)
            return tools.run(argv, **options)

        def occupants(directories: Iterable[str]) -> presence.Occupants:
            return presence.Occupants(*self.ask("occupants", list(directories)))

        def merged(heads: Sequence[str]) -> Mapping[str, str]:
            answer: dict[str, str] = self.ask("merged_pull_requests", list(heads))
            return answer

        return replace(
            tools,
            run=run,
            progress=lambda *words: self.tell("progress", *words),
            occupants=occupants,
            merged_pull_requests=None if tools.merged_pull_requests is None else merged,
        )
