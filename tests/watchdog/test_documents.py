"""The documents say what the code does."""

from __future__ import annotations

from pathlib import Path

from factory.core.watchdog import checks, heal, policy, workspaces
from factory.core.watchdog.limits import LIMITS
from watchdog.test_workspaces import SITUATIONS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/watchdog.md").read_text()


def test_every_check_is_in_the_table_as_it_is() -> None:
    for check in checks.CHECKS:
        limit = f"`{check.limit}`" if check.limit else ""
        needed, window = check.raise_after
        row = f"| `{check.name}` | {check.title} | {check.severity} | {needed} of {window} | {limit} |"
        assert row in TEXT


def test_every_limit_is_in_the_table_as_it_is() -> None:
    for name, limit in LIMITS.items():
        sign = "≥" if limit.high_is_bad else "≤"
        assert f"| `{name}` | {sign} {limit.raise_at:g} | {limit.clear_at:g} |" in TEXT


def test_every_reason_of_a_broken_workspace_is_explained() -> None:
    reasons = {reason for _, reason in SITUATIONS if reason} | {workspaces.HEALABLE}
    assert {reason for reason in reasons if f"`{reason}`" not in TEXT} == set()
    assert set(policy.HEAL_MODES) >= {"report", "repair"}
    assert heal.INIT_WORKSPACE
