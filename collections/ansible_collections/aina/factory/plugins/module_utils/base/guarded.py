"""Paths that a person looks at before a change of them lands: what steers agents and repositories.

An agent that could change them unseen would decide by what it, and whoever comes after it, is
judged and told.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

# Which of them an agent reads, its next version decides; a name that is new to all is added here.
_INSTRUCTIONS = ("AGENT", "AGENTS", "CLAUDE", "CODEX", "CRUSH", "GEMINI", "QWEN", "WARP")
# Of each there are a directory and files, such as .cursor/ and .cursorrules.
_AGENTS = ("aider", "amazonq", "augment", "claude", "cline", "codex", "continue", "copilot")
_MORE_AGENTS = ("crush", "cursor", "gemini", "goose", "junie", "kilocode", "opencode", "qwen")
STANDARD = (
    ".github/",
    *(f"{name}.md" for name in _INSTRUCTIONS),
    *(f"{name}.*.md" for name in _INSTRUCTIONS),
    *("SKILL.md", "copilot-instructions.md", "*.instructions.md"),
    *(f".{name}*" for name in (*_AGENTS, *_MORE_AGENTS, "agent", "openhands", "windsurf")),
    *(".devin/", ".factory/", ".kiro/", ".roo/", ".roorules*", ".roomodes", ".rules", ".trae/"),
    *(".mcp.json", "mcp.json", "opencode.json*"),
    # What an editor starts by itself, and what git and GitHub obey.
    *(".vscode/", ".devcontainer/", ".zed/"),
    *("CODEOWNERS", ".gitattributes", ".gitmodules", ".lfsconfig"),
)


def matches(patterns: tuple[str, ...], path: str) -> bool:
    """Whether a path is one of the patterns, or lies under one, at any depth, in any letter case.

    A pattern is a name, or several with slashes between them; ``*`` stands for any part of one. A
    slash at its end says that people expect a directory: a link or a file in its place counts too.
    """
    return bool(patterns) and _expression(patterns).search(path) is not None


def matching(patterns: tuple[str, ...], paths: Iterable[str]) -> list[str]:
    """Return the paths that match."""
    return [path for path in paths if matches(patterns, path)]


@functools.cache
def _expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    names = ("[^/]*".join(map(re.escape, text.strip("/").split("*"))) for text in patterns)
    return re.compile(rf"(?:\A|/)(?:{'|'.join(names)})(?:/|\Z)", re.IGNORECASE)
