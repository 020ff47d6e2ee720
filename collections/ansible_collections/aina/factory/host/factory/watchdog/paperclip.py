"""What Paperclip says of itself: health, boards, runs; and where its ports are reachable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factory.core.base.ports import Request
from factory.core.paperclip.settings import PaperclipSettings
from factory.core.watchdog import readings
from factory.core.watchdog.facts import Absent, Company, Fact, Known, Paperclip, Unknown
from factory.core.watchdog.places import expand
from factory.watchdog.web import fetch

_RUNS = 200


def ask(settings: PaperclipSettings, proc: Path, limit_seconds: float) -> Paperclip:
    """Return what can be known.

    Raises:
        OSError: the token cannot be read.

    """
    headers = {"Accept": "application/json"}
    if settings.token_file:
        token = Path(settings.token_file).read_text(encoding="ascii").strip()
        headers["Authorization"] = f"Bearer {token}"
    healthy, detail, version = _health(settings, headers, limit_seconds)
    companies: Fact[tuple[Company, ...]] = Absent("not asked while Paperclip is not healthy")
    if healthy:
        companies = _known(lambda: _companies(settings, headers, limit_seconds))
    tables = {name: _table(proc / "net" / name) for name in ("tcp", "tcp6")}
    return Paperclip(
        healthy,
        detail,
        version,
        companies,
        _known(lambda: readings.exposed_ports(tables, settings.ports)),
        codex_drift(settings),
    )


def _known(read: Any) -> Fact[Any]:
    try:
        return Known(read())
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Unknown(str(error) or type(error).__name__)


def _table(path: Path) -> str:
    # A host without IPv6 has no such table.
    return path.read_text() if path.exists() else ""


def _health(
    settings: PaperclipSettings, headers: Mapping[str, str], limit_seconds: float
) -> tuple[bool, str, str]:
    request = Request("GET", f"{settings.url}/api/health", headers)
    try:
        answer = fetch(request, timeout_seconds=limit_seconds / 2)
    except OSError as error:
        return False, f"{settings.url} does not answer: {error}", ""
    try:
        said = json.loads(answer.body)
    except ValueError:
        said = {}
    status = said.get("status", "no status") if isinstance(said, dict) else "no status"
    version = str(said.get("version", "")) if isinstance(said, dict) else ""
    if answer.status == 200 and status == "ok":
        return True, f"version {version or 'unknown'} is healthy", version
    why = said.get("error", "") if isinstance(said, dict) else ""
    return False, f"status {answer.status}, {status} {why}".strip(), version


def _companies(
    settings: PaperclipSettings, headers: Mapping[str, str], limit_seconds: float
) -> tuple[Company, ...]:
    def get(path: str) -> Any:
        request = Request("GET", f"{settings.url}/api/{path}", headers)
        answer = fetch(request, timeout_seconds=limit_seconds / 2)
        if answer.status != 200:
            raise OSError(f"/api/{path} answers with status {answer.status}")
        return json.loads(answer.body)

    found = []
    for company in get("companies"):
        place = f"companies/{company['id']}"
        found.append(
            readings.company(
                str(company.get("name") or company["id"]),
                get(f"{place}/dashboard"),
                get(f"{place}/issues?status=todo&limit={readings.LONGEST_LIST}"),
                get(f"{place}/heartbeat-runs?summary=true&limit={_RUNS}"),
                get(f"{place}/live-runs"),
            )
        )
    return tuple(found)


def codex_drift(settings: PaperclipSettings) -> Fact[tuple[str, ...]]:
    """Return the codex homes whose configuration is not the user's own any more."""
    own = Path(settings.codex_config_path)
    homes = [Path(home, "config.toml") for home in expand(settings.codex_homes)]
    copies = [path for path in homes if path.is_file()]
    if not settings.codex_config_path or not own.is_file() or not copies:
        return Absent("there are no two configurations of codex to compare")
    return _known(lambda: tuple(str(p.parent) for p in copies if _digest(p) != _digest(own)))


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
