"""Section ``paperclip`` of the configuration: where Paperclip answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..base.settings import setting


@dataclass(frozen=True)
class PaperclipSettings:
    """Where Paperclip answers, and whose configuration its agents are to have."""

    renamed: ClassVar[Mapping[str, str]] = {"token_path": "token_file"}

    port: int = setting(
        3100, "The port of its server on the loopback address.", minimum=1, maximum=65535
    )
    database_port: int = setting(
        54329, "The port of its embedded database.", minimum=1, maximum=65535
    )
    token_file: str = setting(
        "",
        "A file on the host with the token by which the watchdog asks; it asks without one when"
        " empty.",
        kind="path",
    )
    url: str = setting(
        "http://127.0.0.1:3100", "The address that the watchdog asks.", kind="url", by="role"
    )
    codex_config_path: str = setting(
        "", "The configuration of codex that its user has.", kind="path", by="role"
    )
    codex_homes: tuple[str, ...] = setting(
        (),
        "Homes of codex that Paperclip has made, as patterns: their configuration is to be the"
        " user's own.",
        kind="path",
        by="role",
    )

    @property
    def ports(self) -> dict[int, str]:
        """What listens on which port."""
        return {self.port: "Paperclip", self.database_port: "its database"}
