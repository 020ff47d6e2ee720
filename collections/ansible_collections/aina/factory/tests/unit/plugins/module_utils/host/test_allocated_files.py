from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import allocated_files
from factory.core.host.allocated_files import AllocatedFile, AllocatedFilesError, ObservedFile

MIB = 1 << 20
RESERVE = AllocatedFile("/r", 64 * MIB, 1024 * MIB)

CASES = [
    (ObservedFile(64 * MIB, 0, False), [], 0),
    (ObservedFile(None, 2000 * MIB, False), ["allocate /r (64 MiB)"], 0),
    (ObservedFile(None, 1087 * MIB, False), [], 1),
    (ObservedFile(None, 1088 * MIB, False), ["allocate /r (64 MiB)"], 0),
    (ObservedFile(32 * MIB, 1060 * MIB, False), ["allocate /r (64 MiB)"], 0),
]


@pytest.mark.parametrize(("found", "actions", "warnings"), CASES)
def test_a_reserve_is_made_only_where_enough_stays_free(
    found: ObservedFile, actions: list[str], warnings: int
) -> None:
    plan = allocated_files.plan([RESERVE], lambda item: found)

    assert plan.actions == actions
    assert len(plan.warnings) == warnings


def test_size_zero_removes_the_file() -> None:
    nothing = AllocatedFile("/r", 0, 0)

    assert allocated_files.plan([nothing], lambda item: ObservedFile(1, 0, False)).actions == [
        "remove /r"
    ]
    assert allocated_files.plan([nothing], lambda item: ObservedFile(None, 0, False)).actions == []


def test_a_file_with_holes_is_no_reserve(tmp_path: Path) -> None:
    item = AllocatedFile(str(tmp_path / "r"), MIB, 0)
    with Path(item.path).open("wb") as stream:
        stream.truncate(MIB)

    plan = allocated_files.plan([item], lambda item: allocated_files.read(item, ""))
    allocated_files.apply(plan, lambda *_, **__: pytest.fail("nothing is to be run"))

    assert plan.actions == [f"allocate {item.path} (1 MiB)"]
    assert Path(item.path).stat().st_blocks * 512 >= MIB
    assert allocated_files.plan([item], lambda item: allocated_files.read(item, "")).actions == []


def test_swap_in_use_is_switched_off_before_it_is_replaced(tmp_path: Path) -> None:
    item = AllocatedFile(str(tmp_path / "s"), MIB, 0, swap=True)
    calls: list[str] = []

    def run(argv: Sequence[str | bytes], **_: Any) -> Completed:
        calls.append(str(argv[0]))
        return Completed(0, b"", b"")

    swaps = f"Filename Type\n{item.path} file\n"
    plan = allocated_files.plan([item], lambda item: allocated_files.read(item, swaps))
    allocated_files.apply(plan, run)

    assert calls == ["swapoff", "mkswap"]


def test_a_file_that_cannot_be_formatted_never_gets_its_name(tmp_path: Path) -> None:
    item = AllocatedFile(str(tmp_path / "s"), MIB, 0, swap=True)
    plan = allocated_files.plan([item], lambda item: allocated_files.read(item, ""))

    with pytest.raises(AllocatedFilesError, match="mkswap"):
        allocated_files.apply(plan, lambda *_, **__: Completed(1, b"", b"no"))

    assert list(tmp_path.iterdir()) == []
