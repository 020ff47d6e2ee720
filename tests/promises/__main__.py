"""The map of promises at the command line.

python -m promises page             print docs/promises.md
python -m promises planted [NAME...]  plant the faults of all promises, or of those of the areas and names
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from promises import Promise, planted, read
from promises.page import page

ROOT = Path(__file__).resolve().parents[2]


def chosen(promises: list[Promise], names: list[str]) -> list[Promise]:
    """Return the promises of these names and areas; a name of none is an error."""
    unknown = set(names) - {word for item in promises for word in (item.name, item.area)}
    if unknown:
        sys.exit(f"error: there is no promise and no area {', '.join(sorted(unknown))}")
    return [item for item in promises if not names or {item.name, item.area} & set(names)]


def plant(names: list[str]) -> int:
    """Say of each fault whether it was noticed; fail when one was not."""
    started, missed, count = time.monotonic(), [], 0
    for promise, why in planted.unnoticed(ROOT, chosen(read(ROOT), names)):
        count += 1
        if why:
            missed.append(promise.name)
        print(
            f"{'NOT NOTICED' if why else 'noticed':<12} {promise.area}: {promise.name}", flush=True
        )
        if why:
            print(f"             {promise.payer}\n             {why}", flush=True)
    seconds = time.monotonic() - started
    print(f"{count - len(missed)} of {count} planted faults were noticed in {seconds:.0f} s")
    return 1 if missed else 0


def main(words: list[str]) -> int:
    """Run the command that the words name."""
    match words:
        case ["page"]:
            sys.stdout.write(page(read(ROOT)))
            return 0
        case ["planted", *names]:
            return plant(names)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
