"""Plots as inline SVG; colours come from the page's style. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from ..base import times
from ..base.text import size

_WIDTH, _HEIGHT = 720, 200
_LEFT, _BOTTOM, _TOP = 8, 22, 10
_ROW = 22


def escape(text: object) -> str:
    """Return text that means nothing to a browser."""
    clean = str(text).encode("utf-8", "replace").decode()
    for letter, code in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&quot;"),
        ("'", "&#39;"),
    ):
        clean = clean.replace(letter, code)
    return clean


def history(points: Sequence[Sequence[float]], total: float, limits: Sequence[float]) -> str:
    """Return the used bytes over time under the whole disk, with lines at limits in percent."""
    if len(points) < 2 or not total:
        return '<p class="quiet">The plot begins with the second hour.</p>'
    first, last = points[0][0], points[-1][0]
    span = max(1.0, last - first)

    def x(at: float) -> float:
        return _LEFT + (at - first) / span * (_WIDTH - 2 * _LEFT)

    def y(used: float) -> float:
        return _TOP + (1 - used / total) * (_HEIGHT - _TOP - _BOTTOM)

    line = " ".join(f"{x(at):.1f},{y(used):.1f}" for at, used in points)
    base = _HEIGHT - _BOTTOM
    area = f"{_LEFT},{base} {line} {x(last):.1f},{base}"
    marks = "".join(
        f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _LEFT}" y1="{y(total * at / 100):.1f}" '
        f'y2="{y(total * at / 100):.1f}"/><text x="{_WIDTH - _LEFT}" '
        f'y="{y(total * at / 100) + below:.1f}" text-anchor="end">{at:g} %</text>'
        for at, below in zip(limits, (-4, 13), strict=False)
    )
    label = f"Used bytes from {_day(first)} to {_day(last)}, now {size(points[-1][1])}"
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f'<polygon class="area" points="{area}"/><polyline class="line" points="{line}"/>{marks}'
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _LEFT}" y1="{base}" y2="{base}"/>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{_day(first)}</text>'
        f'<text x="{_WIDTH - _LEFT}" y="{_HEIGHT - 6}" text-anchor="end">{_day(last)}</text></svg>'
    )


def bars(entries: Sequence[Mapping[str, Any]], name: str, title: str) -> str:
    """Return one bar for each entry, the highest and the last with their numbers."""
    values = [float(item[name]) for item in entries]
    highest, total = max(values, default=0.0), sum(values)
    label = f"{title}: {total:g} in all, {highest:g} at most"
    if not highest:
        return f'<p class="quiet">{escape(title)}: nothing yet.</p>'
    height, width = 90, (_WIDTH - 2 * _LEFT) / len(values)
    base = height - _BOTTOM
    drawn = "".join(
        f'<rect class="bar info" x="{_LEFT + number * width:.1f}" y="{base - tall:.1f}"'
        f' width="{width - 2:.1f}" height="{tall:.1f}"><title>{escape(item["at"])}: {value:g}</title></rect>'
        for number, (item, value) in enumerate(zip(entries, values, strict=True))
        if (tall := (base - _TOP) * value / highest)
    )
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f'{drawn}<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _LEFT}" y1="{base}" y2="{base}"/>'
        f'<text x="{_LEFT}" y="{height - 6}">{escape(label)}</text></svg>'
    )


def timeline(entries: Sequence[Mapping[str, Any]], now: float, days: int = 14) -> str:
    """Return one row per alert key: a bar from when it was raised until it recovered."""
    begin = now - days * 86400
    bars = _bars(entries, now)
    rows = [
        (key, found)
        for key, found in bars.items()
        if any(end > begin for _begin, end, _kind in found)
    ]
    if not rows:
        return '<p class="quiet">No alert in the last two weeks.</p>'
    height = _ROW * len(rows) * 2 + _BOTTOM
    parts = []
    for number, (key, found) in enumerate(rows):
        top = number * _ROW * 2
        parts.append(f'<text x="{_LEFT}" y="{top + 14}">{escape(key)}</text>')
        for start, end, severity in found:
            left = _LEFT + max(0.0, start - begin) / (now - begin) * (_WIDTH - 2 * _LEFT)
            right = _LEFT + (end - begin) / (now - begin) * (_WIDTH - 2 * _LEFT)
            if end > begin:
                parts.append(
                    f'<rect class="bar {escape(severity)}" x="{left:.1f}" y="{top + 20}" '
                    f'width="{max(2.0, right - left):.1f}" height="{_ROW - 6}" rx="2"/>'
                )
    ends = (
        f'<text x="{_LEFT}" y="{height - 6}">{_day(begin)}</text>'
        f'<text x="{_WIDTH - _LEFT}" y="{height - 6}" text-anchor="end">{_day(now)}</text>'
    )
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Alerts of the last {days} days">{"".join(parts)}{ends}</svg>'
    )


def _bars(
    entries: Sequence[Mapping[str, Any]], now: float
) -> dict[str, list[tuple[float, float, str]]]:
    """Return (start, end, severity) by key; the entries are given newest first."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    begun: dict[str, tuple[float, str]] = {}
    for entry in reversed(entries):
        at, key = times.seconds(entry["at"]), entry["key"]
        if entry["change"] == "raised":
            begun.setdefault(key, (at, entry["severity"]))
        elif entry["change"] == "recovered" and key in begun:
            start, severity = begun.pop(key)
            found.setdefault(key, []).append((start, at, severity))
    for key, (start, severity) in begun.items():
        found.setdefault(key, []).append((start, now, severity))
    return found


def _day(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M")
