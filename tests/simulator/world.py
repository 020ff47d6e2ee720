"""The whole simulated GitHub: accounts, tokens, repositories, and ways to find them."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator.clock import Clock
from simulator.gitstore import GitStore
from simulator.model import Account, App, Installation, Repository, RunnerGroup, RunnerScope, Token

# The two letters with which GitHub's own node ids begin.
NODE_PREFIXES = {
    "Account": "U",
    "Pull": "PR",
    "QueueEntry": "MQE",
    "Issue": "I",
    "Repository": "R",
    "Label": "LA",
    "Comment": "IC",
    "Review": "PRR",
    "CheckRun": "CR",
    "Status": "SC",
    "Release": "RE",
    "Asset": "RA",
    "Rule": "BPR",
    "Run": "WFR",
    "Workflow": "W",
    "App": "A",
}


class World:
    """State under one lock; every id, name and token follows from the seed."""

    def __init__(self, directory: Path, seed: int = 1, clock: Clock | None = None) -> None:
        """Begin empty; repositories lie under ``directory``."""
        self.directory = directory
        self.clock = clock or Clock()
        self.random = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self.lock = threading.RLock()
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, Token] = {}
        self.apps: dict[int, App] = {}
        self.installations: dict[int, Installation] = {}
        self.repositories: dict[str, Repository] = {}
        self.scopes: dict[str, RunnerScope] = {}
        # What stub runners are told to do, and the removed ones that are not told of it.
        self.runner_orders: list[dict[str, Any]] = []
        self.ghosts: set[int] = set()
        self.nodes: dict[str, Any] = {}
        self.web_url = ""
        self.default_owner = "factory"
        self.consistency_delay_seconds = 0.0
        self.search_delay_seconds = 0.0
        self._next_id = 1000 + seed

    def now(self) -> float:
        return self.clock.now()

    def new_id(self) -> int:
        """Return the next database id."""
        self._next_id += 1
        return self._next_id

    def secret(self, prefix: str, length: int = 36) -> str:
        """Return a token that follows from the seed."""
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        return prefix + "".join(self.random.choices(letters, k=length))

    def visible_from(self) -> float:
        """Return when something made now is seen by readers."""
        return self.now() + self.consistency_delay_seconds

    # --- node ids -----------------------------------------------------------

    def node_id(self, thing: Any) -> str:
        """Return the global id of a record, remembering it."""
        kind = type(thing).__name__
        packed = base64.urlsafe_b64encode(f"{kind}:{thing.id}".encode()).decode().rstrip("=")
        node_id = f"{NODE_PREFIXES[kind]}_kwDO{packed}"
        self.nodes[node_id] = thing
        return node_id

    # --- accounts -----------------------------------------------------------

    def account(self, login: str, kind: str = "User") -> Account:
        """Return an account, making it when it is new."""
        key = login.lower()
        if key not in self.accounts:
            kind = "Bot" if login.endswith("[bot]") else kind
            self.accounts[key] = Account(self.new_id(), login, kind)
        return self.accounts[key]

    def add_token(self, account: Account, value: str | None = None, **more: Any) -> Token:
        """Give an account a token of its own: a classic one, or with permissions a fine-grained one."""
        prefix = "github_pat_" if more.get("permissions") is not None else "ghp_"
        token = Token(value or self.secret(prefix), account, **more)
        self.tokens[token.value] = token
        return token

    # --- repositories -------------------------------------------------------

    def add_repository(self, full_name: str, **settings: Any) -> Repository:
        owner, name = full_name.split("/")
        git = GitStore(self.directory / owner / f"{name}.git")
        scope = self.scope(f"repos/{full_name}", f"{self.web_url}/{full_name}")
        repository = Repository(
            id=self.new_id(),
            owner=self.account(owner),
            name=name,
            git=git,
            created_at=self.now(),
            scope=scope,
            **settings,
        )
        if repository.default_branch != "main":
            git.git("symbolic-ref", "HEAD", f"refs/heads/{repository.default_branch}")
        self.repositories[full_name.lower()] = repository
        return repository

    def repository(self, full_name: str) -> Repository | None:
        """Return a repository; letter case does not count."""
        return self.repositories.get(full_name.lower())

    def scope(self, name: str, url: str) -> RunnerScope:
        """Return the place where a repository's or organization's runners are registered."""
        key = name.lower()
        if key not in self.scopes:
            group = RunnerGroup(1, "Default", default=True)
            self.scopes[key] = RunnerScope(name, url, groups={1: group})
        return self.scopes[key]

    def all_pulls(self) -> Iterator[Any]:
        for repository in self.repositories.values():
            yield from repository.pulls


def digest(content: bytes) -> str:
    """Return a digest as GitHub writes it for release files."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
