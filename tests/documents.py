"""The commands that a document tells its reader to run."""

from __future__ import annotations

import re
from pathlib import Path


def commands(path: Path) -> list[str]:
    """Return the lines behind a prompt of its console blocks, in their order."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line[:2] in ("$ ", "# ")]
