"""Section ``drift`` of the configuration: the repository that declares this server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..base.settings import setting

_NAME = r"[A-Za-z0-9][A-Za-z0-9._/-]*"


@dataclass(frozen=True)
class DriftSettings:
    """Where the declaration of this server is, and who may sign what is applied."""

    renamed: ClassVar[Mapping[str, str]] = {"checkout_path": "checkout_dir"}

    repository: str = setting(
        "",
        "The repository that declares this server, as git fetches it; with its inventory. Without"
        " one nothing looks.",
    )
    branch: str = setting(
        "main",
        "The branch that says how the server is to be.",
        form=(_NAME, "be the name of a branch"),
    )
    inventory: str = setting(
        "inventory/production",
        "The inventory's path inside the repository.",
        form=(_NAME, "be a path inside the repository"),
    )
    playbook: str = setting(
        "playbooks/site.yml",
        "The playbook's path inside the repository.",
        form=(_NAME, "be a path inside the repository"),
    )
    host: str = setting(
        "",
        "The server's name in that inventory.",
        form=(_NAME, "be the server's name in the inventory"),
        expression="{{ inventory_hostname }}",
    )
    checkout_dir: str = setting(
        "/var/lib/aina-factory/checkout",
        "Where the server keeps its copy of the repository.",
        kind="path",
    )
    environment: Mapping[str, str] = setting(
        {},
        "Variables that git and Ansible are given besides, such as SOPS_AGE_KEY_FILE; no secrets.",
    )
    signers_path: str = setting(
        "",
        "The file with those who may sign, in the form of allowed_signers; nobody may without one.",
        kind="path",
        by="role",
    )
    tag_pattern: str = setting(
        "converge/*",
        "Tags that may be applied.",
        form=(r"[A-Za-z0-9*][A-Za-z0-9.*_/-]*", "be a pattern of tags"),
    )

    @property
    def checkout(self) -> Path:
        """Where the copy of the repository is."""
        return Path(self.checkout_dir)

    @property
    def signers(self) -> Path | None:
        """The file with those who may sign."""
        return Path(self.signers_path) if self.signers_path else None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield what must be said of a server that looks."""
        if not self.repository:
            yield "repository", "name the repository that declares this server"
        if not self.host:
            yield "host", "be the server's name in the inventory"
