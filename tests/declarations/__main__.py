"""Write what follows from the declarations of settings: python -m declarations."""

from __future__ import annotations

from pathlib import Path

from declarations import outdated

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    for path, text in outdated(ROOT).items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
        print(path)
