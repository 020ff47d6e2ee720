"""What an image holds, as a bill of materials (CycloneDX 1.5) that scanners read; pure but for the script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

# Run in the image: one line for its distribution and for each package, its fields behind tabs.
SCRIPT = rb"""
. /etc/os-release
printf 'os\t%s\t%s\n' "$ID" "${VERSION_ID-}"
dpkg-query --show --showformat 'deb\t${Package}\t${Version}\t${Architecture}\n'
if command -v jq >/dev/null; then
  find / -xdev -path '*/node_modules/.package-lock.json' | while IFS= read -r lock; do
    jq --raw-output '.packages | to_entries[] | select(.value.version)
      | ["npm", (.key | sub("^.*node_modules/"; "")), .value.version] | @tsv' "$lock"
  done
fi
find / -xdev -type d -name '*.dist-info' | sed -n 's#.*/\(.*\)-\([^-]*\)\.dist-info$#pypi\t\1\t\2#p'
"""
_SHOWN = 10


def document(name: str, content: str, text: str) -> dict[str, Any]:
    """Return the bill of an image from what the script prints; a line that says nothing is left out."""
    rows = {tuple(line.split("\t")) for line in text.splitlines()}
    system = next((row[1] for row in sorted(rows) if row[0] == "os" and len(row) > 1), "linux")
    found = {_component(row, system) for row in rows if row[0] in _KINDS and len(row) >= 3}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": content}},
        "components": [
            {"type": "library", "name": title, "version": version, "purl": purl}
            for title, version, purl in sorted(found)
        ],
    }


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return in words which packages are other ones than in the former image's bill; "" when none is."""
    old, new = _versions(before), _versions(after)
    changed = [
        f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if not old or not changed:
        return ""
    rest = f", and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    return f"{len(changed)} packages are other ones: {', '.join(changed[:_SHOWN])}{rest}"


def _component(row: tuple[str, ...], system: str) -> tuple[str, str, str]:
    kind, name, version = row[:3]
    scope, _slash, plain = name.rpartition("/")
    place = {"deb": f"{system}/", "npm": f"{quote(scope, safe='')}/" if scope else ""}.get(kind, "")
    purl = f"pkg:{kind}/{place}{quote(plain, safe='')}@{quote(version, safe='')}"
    return name, version, f"{purl}?arch={row[3]}" if kind == "deb" and len(row) > 3 else purl


def _versions(bill: Mapping[str, Any]) -> dict[str, str]:
    items: Iterable[Any] = bill.get("components") or ()
    found: dict[str, str] = {}
    for item in items:
        name, version = str(item["name"]), str(item["version"])
        found[name] = f"{found[name]}+{version}" if name in found else version
    return found


_KINDS = frozenset({"deb", "npm", "pypi"})
