"""From a scenario to a world: repositories in one stream each, then what hangs on them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from simulator import checks, pulls, runners, stub_runner
from simulator.clock import Clock, parse_iso
from simulator.gitstore import git_environment
from simulator.model import (
    Account,
    App,
    Asset,
    Ci,
    Comment,
    Installation,
    Pull,
    Release,
    Repository,
    Review,
    Rule,
    Status,
)
from simulator.rest.issues import add_issue, ensure_label, relabel
from simulator.scenario import ScenarioError
from simulator.world import World, digest

Document = dict[str, Any]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Histories that say no date begin here, so that their oids are always the same.
FIRST_COMMIT = 1_767_225_600
MINUTE = 60.0
ALL_PERMISSIONS = {
    "actions": "write",
    "administration": "write",
    "checks": "write",
    "contents": "write",
    "issues": "write",
    "metadata": "read",
    "organization_self_hosted_runners": "write",
    "pull_requests": "write",
    "statuses": "write",
    "workflows": "write",
}
SETTINGS = [
    "private",
    "fork_of",
    "description",
    "default_branch",
    "allow_squash_merge",
    "allow_merge_commit",
    "allow_rebase_merge",
    "allow_auto_merge",
    "delete_branch_on_merge",
    "merge_delay_seconds",
    "ci_slots",
    "update_branch_delay_seconds",
    "fork_approval_policy",
    "fork_workflows",
    "collaborators",
]


def moment(text: str | None, now: float, default: float) -> float:
    """Read a time, or an age such as ``-3h``."""
    if text is None:
        return default
    if text.startswith("-"):
        return now - int(text[1:-1]) * UNITS[text[-1]]
    return parse_iso(text)


def clock_of(document: Document) -> Clock:
    given = document.get("clock", {})
    start = parse_iso(given["start"]) if "start" in given else None
    return Clock(start, running=given.get("running", True))


def fill(world: World, document: Document) -> None:
    """Make everything that a checked scenario describes.

    Raises:
        ScenarioError: a reference leads nowhere.

    """
    world.consistency_delay_seconds = 0.0
    for given in document.get("users", []):
        account = world.account(given["login"])
        # The administrator's account was there before.
        account.kind = given.get("type", account.kind)
        account.name = given.get("name")
        if "token" in given:
            world.add_token(account, given["token"])
    for index, given in enumerate(document.get("repositories", [])):
        _repository(world, given, f"repositories[{index}]")
    for given in document.get("apps", []):
        _app(world, given)
    world.consistency_delay_seconds = document.get("consistency_delay_seconds", 0.0)
    world.search_delay_seconds = document.get("search_delay_seconds", 0.0)


def _app(world: World, given: Document) -> None:
    key = rsa.generate_private_key(65537, 2048)
    path = world.directory / f"app-{given['slug']}.pem"
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    number = world.new_id()
    permissions = given.get("permissions", ALL_PERMISSIONS)
    app = App(number, given["slug"], f"Iv23{number}", public.decode(), str(path), permissions)
    world.apps[app.id] = app
    account = world.account(given.get("installed_on", world.default_owner))
    installation = Installation(world.new_id(), app, account, given.get("repositories"))
    world.installations[installation.id] = installation


# --- Git history ------------------------------------------------------------


class _Stream:
    """Commits and branches for ``git fast-import``; marks stand for oids until it has run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lines: list[bytes] = []
        self.marks = 0
        self.tips: dict[str, list[int]] = {}

    def branch(self, name: str, start: int | None, commits: list[Document], author: str) -> int:
        """Add a branch of ``commits`` on top of a mark and return its tip."""
        tip, line = start, list(self._history(start))
        for given in commits:
            tip = self._commit(name, tip, given, author)
            line.append(tip)
        if tip is None:
            raise ScenarioError(f"branch {name} has no commit")
        self.lines.append(f"reset refs/heads/{name}\nfrom :{tip}\n\n".encode())
        self.tips[name] = line
        return tip

    def _history(self, start: int | None) -> list[int]:
        for line in self.tips.values():
            if start in line:
                return line[: line.index(start) + 1]
        return []

    def mark(self, revision: str, where: str) -> int:
        """Return the commit that ``name`` or ``name~N`` names."""
        name, _, back = revision.partition("~")
        line = self.tips.get(name)
        if line is None or int(back or 0) >= len(line):
            raise ScenarioError(f"{where}: there is no commit {revision}")
        return line[-1 - int(back or 0)]

    def _commit(self, branch: str, parent: int | None, given: Document, author: str) -> int:
        self.marks += 1
        account = self.world.account(given.get("author", author))
        who = pulls.identity(account)
        when = moment(given.get("date"), self.world.now(), FIRST_COMMIT + 60 * self.marks)
        message = given.get("message", f"Change {self.marks}").encode()
        person = f"{who.name} <{who.email}> {int(when)} +0000"
        head = f"commit refs/heads/{branch}\nmark :{self.marks}\nauthor {person}\n"
        head += f"committer {person}\ndata {len(message)}\n"
        self.lines.append(head.encode() + message + b"\n")
        if parent is not None:
            self.lines.append(f"from :{parent}\n".encode())
        for path in given.get("delete", []):
            self.lines.append(f"D {path}\n".encode())
        for path, content in given.get("files", {}).items():
            data = content.encode()
            self.lines.append(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
        self.lines.append(b"\n")
        return self.marks

    def run(self, path: Path) -> None:
        done = subprocess.run(
            ["git", "fast-import", "--quiet", "--force"],
            cwd=path,
            input=b"".join(self.lines),
            capture_output=True,
            env=git_environment(),
            check=False,
        )
        if done.returncode:
            raise ScenarioError(f"git fast-import: {done.stderr.decode(errors='replace')}")


def _repository(world: World, given: Document, where: str) -> None:
    settings = {name: given[name] for name in SETTINGS if name in given}
    repository = world.add_repository(given["name"], **settings)
    requests = [*given.get("pull_requests", []), *_generated(given.get("generate"), world.now())]
    _history(world, repository, given, requests, where)
    for name in given.get("labels", []):
        ensure_label(world, repository, name)
    for issue in given.get("issues", []):
        _issue(world, repository, issue)
    for rule in given.get("rules", []):
        fields = {"branch": repository.default_branch, **rule}
        repository.rules.append(Rule(id=world.new_id(), **fields))
    repository.ci = [Ci(**entry) for entry in given.get("ci", [])]
    tip = repository.git.branch(repository.default_branch)
    for entry in given.get("checks", []):
        _check(world, repository, tip or "", entry)
    for index, request in enumerate(requests):
        _pull(world, repository, request, f"{where}.pull_requests[{index}]")
    heads = {f"refs/pull/{p.number}/head": p.head_oid for p in repository.pulls}
    if heads:
        repository.git.update_refs(heads)
    repository.git.git("pack-refs", "--all")
    for release in given.get("releases", []):
        add_release(world, repository, release)
    for entry in given.get("workflows", []):
        workflow = runners.workflow_of(world, repository, entry["name"])
        workflow.jobs, workflow.inputs = entry.get("jobs", []), entry.get("inputs", [])
        workflow.dispatchable = entry.get("dispatch", True)
    for runner in given.get("runners", []):
        runners.from_scenario(world, repository, runner)
    for job in given.get("jobs", []):
        runners.queue_job(world, repository, job)


def _history(
    world: World, repository: Repository, given: Document, requests: list[Document], where: str
) -> None:
    stream, owner = _Stream(world), repository.owner.login
    main = repository.default_branch
    commits = given.get("commits", [{"message": "Begin", "files": {"README.md": "# Demo\n"}}])
    stream.branch(main, None, commits, owner)
    for name, branch in given.get("branches", {}).items():
        start = stream.mark(branch.get("from", main), f"{where}.branches.{name}.from")
        stream.branch(name, start, branch.get("commits", []), owner)
    forks: dict[str, list[Document]] = {}
    for index, request in enumerate(requests):
        if request["head"] in stream.tips:
            continue
        start = stream.mark(request.get("from", main), f"{where}.pull_requests[{index}].from")
        files = {f"{request['head']}.txt": f"{request['head']}\n"}
        text = request.get("title", request["head"])
        changed = request.get("commits", [{"message": text, "files": files}])
        stream.branch(request["head"], start, changed, request.get("author", owner))
        if "fork" in request:
            forks.setdefault(request["fork"], []).append(request)
    stream.run(repository.git.path)
    repository.git.reload()
    for login, theirs in forks.items():
        _fork(world, repository, login, theirs)


def _fork(world: World, repository: Repository, login: str, requests: list[Document]) -> None:
    name = f"{login}/{repository.name}"
    fork = world.repository(name) or world.add_repository(
        name, private=repository.private, fork_of=repository.full_name
    )
    specs = [f"refs/heads/{r['head']}:refs/heads/{r['head']}" for r in requests]
    fork.git.git("fetch", "--quiet", str(repository.git.path), *specs)
    fork.git.reload()
    for request in requests:
        repository.git.delete_ref(f"refs/heads/{request['head']}")


def _generated(given: Document | None, now: float) -> Iterator[Document]:
    if given is None:
        return
    count, check = given["pull_requests"], given.get("check", "ci")
    kinds: list[str] = []
    for kind in ("failing", "pending", "unreported", "conflicting", "draft"):
        kinds += [kind] * given.get(kind, 0)
    interval = given.get("interval_seconds", MINUTE)
    for index in range(count):
        kind = kinds[index] if index < len(kinds) else "good"
        name = f"change-{index + 1:04d}"
        entry: Document = {"name": check, "conclusion": given.get("conclusion", "success")}
        if kind == "failing":
            entry = {"name": check, "conclusion": "failure"}
        elif kind == "pending":
            entry = {"name": check, "status": "in_progress"}
        path = "README.md" if kind == "conflicting" else f"changes/{name}.txt"
        age = int((count - index) * interval)
        yield {
            "head": name,
            "title": f"Change {index + 1}",
            "author": given.get("author", "lane-agent"),
            "draft": kind == "draft",
            "created_at": f"-{age}s",
            "commits": [{"message": f"Change {index + 1}", "files": {path: f"{name}\n"}}],
            "checks": [] if kind == "unreported" else [entry],
        }


# --- Everything else --------------------------------------------------------


def _check(world: World, repository: Repository, oid: str, given: Document) -> None:
    run = checks.add_check(
        world,
        repository,
        oid,
        given["name"],
        given.get("conclusion"),
        status=given.get("status"),
        app=given.get("app", "github-actions"),
        workflow=given.get("workflow", "ci"),
    )
    if "started_at" in given:
        run.started_at = moment(given["started_at"], world.now(), world.now())
    if "ends_after_seconds" in given:
        run.ends_at = world.now() + given["ends_after_seconds"]
        run.ends_with = given.get("ends_with", "success")


def _label(world: World, issue: Any, given: Document) -> None:
    labels = [ensure_label(world, issue.repository, name) for name in given.get("labels", [])]
    actor = world.account(given["labelled_by"]) if "labelled_by" in given else issue.author
    relabel(world, issue, labels, actor)


def _comments(world: World, issue: Any, given: Document) -> None:
    for entry in given.get("comments", []):
        author, when = world.account(entry["author"]), issue.created_at
        issue.comments.append(Comment(world.new_id(), author, entry["body"], when, when, issue))


def _issue(world: World, repository: Repository, given: Document) -> None:
    author = world.account(given.get("author", repository.owner.login))
    issue = add_issue(world, repository, author, given["title"], given.get("body", ""))
    issue.created_at = issue.updated_at = moment(given.get("created_at"), world.now(), world.now())
    _label(world, issue, given)
    _comments(world, issue, given)
    if given.get("state") == "closed":
        pulls.close(world, issue, reason="completed")


def _pull(world: World, repository: Repository, given: Document, where: str) -> None:
    source = repository
    if "fork" in given:
        source = world.repository(f"{given['fork']}/{repository.name}") or repository
    author = world.account(given.get("author", repository.owner.login))
    default = FIRST_COMMIT + MINUTE * repository.next_number
    try:
        pull = pulls.open_pull(
            world,
            repository,
            author=author,
            title=str(given.get("title", given["head"])),
            head=given["head"],
            base=given.get("base", repository.default_branch),
            body=given.get("body", ""),
            draft=given.get("draft", False),
            head_repository=source,
            created_at=moment(given.get("created_at"), world.now(), default),
        )
    except pulls.RefusedError as error:
        raise ScenarioError(f"{where}: {error.message}") from error
    opened = min(pull.created_at, world.now()) - 1
    pulls.note_activity(
        world, source, f"refs/heads/{pull.head}", None, pull.head_oid, author, opened
    )
    _dress(world, repository, pull, given)


def _dress(world: World, repository: Repository, pull: Pull, given: Document) -> None:
    _label(world, pull, given)
    pull.unresolved_threads = given.get("unresolved_threads", 0)
    for entry in given.get("reviews", []):
        author = world.account(entry["author"])
        body, when = entry.get("body", ""), pull.created_at
        pull.reviews.append(
            Review(world.new_id(), author, entry["state"], body, pull.head_oid, when, pull)
        )
    _comments(world, pull, given)
    for entry in given.get("checks", []):
        _check(world, repository, pull.head_oid, entry)
    for entry in given.get("statuses", []):
        creator = world.account(entry.get("creator", repository.owner.login))
        status = _status(world, creator, entry, pull.created_at)
        repository.statuses.setdefault(pull.head_oid, []).append(status)
    if "checks" not in given:
        checks.start_ci(world, repository, pull.head, pull.head_oid)
    if given.get("state") == "closed":
        pulls.close(world, pull)


def _status(world: World, creator: Account, given: Document, when: float) -> Status:
    text = given.get("description")
    return Status(world.new_id(), given["context"], given["state"], text, None, when, creator)


def add_release(world: World, repository: Repository, given: Document) -> None:
    when = moment(given.get("created_at"), world.now(), world.now())
    release = Release(
        id=world.new_id(),
        tag=given["tag"],
        name=str(given.get("name", given["tag"])),
        body=given.get("body", ""),
        created_at=when,
        author=repository.owner,
        prerelease=given.get("prerelease", False),
    )
    entries = list(given.get("assets", []))
    if given.get("runner"):
        version = release.tag.removeprefix("v")
        names = [stub_runner.asset_name(version, name) for name in stub_runner.PLATFORMS]
        distribution = stub_runner.tarball(version)
        entries += [{"name": name, "bytes": distribution} for name in names]
    for entry in entries:
        content = Path(entry["file"]).read_bytes() if "file" in entry else b""
        content = entry["content"].encode() if "content" in entry else content
        content = entry.get("bytes", content)
        shown = entry.get("digest", digest(content)) if given.get("digests", True) else None
        if given.get("damaged"):
            content = content[:-1] + bytes([content[-1] ^ 1])
        kind = "application/octet-stream"
        release.assets.append(Asset(world.new_id(), entry["name"], content, shown, kind, when))
    repository.releases.append(release)
