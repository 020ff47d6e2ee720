"""Clone, fetch and push over HTTPS, by git's own HTTP backend."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

from simulator import auth, pulls
from simulator.gitstore import git_environment
from simulator.http import Answer, HttpError, Incoming
from simulator.model import Repository, Token
from simulator.world import World

PATH = re.compile(
    r"/(?P<repository>[\w.-]+/[\w.-]+?)(?:\.git)?(?P<rest>/(?:info/refs|git-(?:upload|receive)-pack))"
)


def matches(path: str) -> bool:
    """Say whether a path belongs to git."""
    return PATH.fullmatch(path) is not None


def serve(world: World, request: Incoming) -> Answer:
    """Answer a request of git's smart protocol.

    Raises:
        HttpError: 401, 403 or 404, as GitHub answers git.

    """
    match = PATH.fullmatch(request.path)
    if match is None:
        raise HttpError(404, "Not Found")
    push = "receive-pack" in request.path or request.query.get("service") == "git-receive-pack"
    with world.lock:
        repository, token = _authorize(world, request, match["repository"], push=push)
        refused = _refused(repository, request, token)
    answer = _backend(repository, request, match["rest"], token, refused)
    if request.path.endswith("/git-receive-pack"):
        with world.lock:
            before = dict(repository.git.refs)
            repository.git.reload()
            pulls.refs_changed(world, repository, before, token.account if token else None)
    return answer


def _authorize(
    world: World, request: Incoming, full_name: str, *, push: bool
) -> tuple[Repository, Token | None]:
    challenge = {"WWW-Authenticate": 'Basic realm="GitHub"'}
    try:
        token = auth.identify(world, request)
    except HttpError as error:
        raise HttpError(401, error.message, headers=challenge) from error
    repository = world.repository(full_name)
    if token is None and (push or repository is None or repository.private):
        raise HttpError(401, "Requires authentication", headers=challenge)
    if repository is None:
        raise HttpError(404, "Repository not found.")
    auth.require(repository, token, "contents", "write" if push else "read")
    return repository, token


def _refused(repository: Repository, request: Incoming, token: Token | None) -> str:
    """Return what of a push the rules forbid, a line each: the ref and why."""
    if token is None or not request.path.endswith("/git-receive-pack"):
        return ""
    lines = []
    for oid, ref in _commands(request.body):
        branch = ref.removeprefix("refs/heads/")
        why = pulls.push_blocker(repository, branch, oid, token) if branch != ref else ""
        lines += [f"{ref} {why}"] if why else []
    return "\n".join(lines)


def _commands(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield the new oid and the ref of each command of a push."""
    while len(body) > 4 and (length := int(body[:4], 16)):
        words = body[4:length].partition(b"\0")[0].decode().strip()
        # From a clone without history, what it lacks comes first.
        if not words.startswith("shallow "):
            _old, new, ref = words.split(" ", 2)
            yield new, ref
        body = body[length:]


def _backend(
    repository: Repository, request: Incoming, rest: str, token: Token | None, refused: str
) -> Answer:
    granted = token.permissions if token else None
    no_workflows = granted is not None and "workflows" not in granted
    query = "&".join(f"{name}={value}" for name, value in request.query.items())
    environment = {
        **git_environment(),
        "GIT_PROJECT_ROOT": str(repository.git.path),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": rest,
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "REMOTE_USER": token.account.login if token else "",
        "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
        "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        # For the hook "update", which refuses.
        "SIMULATOR_REFUSED": refused,
        "SIMULATOR_NO_WORKFLOWS": "yes" if no_workflows else "",
    }
    done = subprocess.run(
        ["git", "http-backend"],
        input=request.body,
        capture_output=True,
        env=environment,
        check=False,
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
    status = int(headers.pop("Status", "200").split()[0])
    if done.returncode and not head:
        raise HttpError(500, done.stderr.decode(errors="replace"))
    return Answer(status, body, headers)
