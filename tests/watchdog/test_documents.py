"""The documents say what the code does."""

from __future__ import annotations

from pathlib import Path

from factory.core.watchdog import heal, settings, workspaces
from watchdog.test_workspaces import SITUATIONS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/watchdog.md").read_text()


def test_every_reason_of_a_broken_workspace_is_explained() -> None:
    reasons = {reason for _, reason in SITUATIONS if reason} | {workspaces.HEALABLE}
    assert {reason for reason in reasons if f"`{reason}`" not in TEXT} == set()
    assert set(settings.HEAL_MODES) >= {"report", "repair"}
    assert heal.INIT_WORKSPACE
