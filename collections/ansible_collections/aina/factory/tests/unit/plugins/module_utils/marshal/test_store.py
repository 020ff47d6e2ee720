from __future__ import annotations

import json
from pathlib import Path

import pytest

from factory.core.marshal import audit, store
from factory.core.marshal.snapshot import SavedState
from factory.core.marshal.store import StateStore, StoreError


def opened(directory: Path, *, resume: bool = False) -> StateStore:
    found = StateStore(directory)
    found.load()
    found.open_log(resume=resume)
    return found


def written(directory: Path, count: int = 4) -> Path:
    """Write records, the state after the last but one, and return the log."""
    found = opened(directory)
    for number in range(count):
        found.audit({"number": number})
        if number == count - 2:
            found.save(SavedState())
    return found.audit_path


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_log_whose_end_was_cut_off_is_noticed_until_somebody_has_looked(
    kept: int, tmp_path: Path
) -> None:
    log = written(tmp_path)
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:kept]))

    with pytest.raises(StoreError, match=r"its end is gone.*--resume"):
        opened(tmp_path)
    log.unlink()
    with pytest.raises(StoreError, match="its end is gone"):
        opened(tmp_path)

    again = opened(tmp_path, resume=True)
    again.audit({"number": 9})
    again.save(SavedState())
    assert audit.verify(log.read_text().splitlines())
    opened(tmp_path)


def test_a_record_that_was_half_written_by_a_killed_run_is_no_cut(tmp_path: Path) -> None:
    log = written(tmp_path)
    log.write_bytes(log.read_bytes()[:-20])

    opened(tmp_path).audit({"number": 9})

    assert len(log.read_text().splitlines()) == 4


def test_the_log_is_bounded_and_its_files_are_one_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOG_BYTES", 400)
    for _run in range(3 * store.LOGS_COUNT):
        found = opened(tmp_path)
        for number in range(4):
            found.audit({"number": number})
        found.save(SavedState())

    older = [tmp_path / f"audit.{n}.jsonl" for n in range(store.LOGS_COUNT, 0, -1)]
    begins = audit.GENESIS
    for index, path in enumerate([*older, found.audit_path]):
        lines = path.read_text().splitlines()
        assert path.stat().st_size < 400 + 4 * 250
        # What was before the oldest one is gone.
        begins = begins if index else json.loads(lines[0])["previous"]
        begins = audit.verify(lines, begins)
    assert len(list(tmp_path.glob("audit*"))) == store.LOGS_COUNT + 1
