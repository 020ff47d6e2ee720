"""Names of an inventory's variables: which a role reads, which are called otherwise now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ..base.configuration import nearest

# Former name -> what to write instead; kept for one release.
RENAMED: Mapping[str, str] = {
    "factory_command_reap": "worktrees_grace_seconds and the other options of the role worktrees",
    "worktrees_projects": "factory_projects",
}
# Former beginning -> present one; kept for one release.
RENAMED_PREFIXES: Mapping[str, str] = {}


def problems(
    names: Iterable[str],
    known: Collection[str],
    prefixes: Collection[str],
    renamed: Mapping[str, str] = RENAMED,
    renamed_prefixes: Mapping[str, str] = RENAMED_PREFIXES,
) -> list[str]:
    """Return what is wrong with names that begin with one of ``prefixes`` or a former one.

    Others are the site's own.
    """
    known = set(known)
    ours = {*prefixes, *renamed_prefixes}
    return [
        f"{name} {_problem(name, known, ours, renamed, renamed_prefixes)}"
        for name in sorted(set(names) - known)
        if name in renamed or name.startswith(tuple(ours))
    ]


def _problem(
    name: str,
    known: set[str],
    prefixes: set[str],
    renamed: Mapping[str, str],
    renamed_prefixes: Mapping[str, str],
) -> str:
    present = next(
        (
            now + name.removeprefix(old)
            for old, now in renamed_prefixes.items()
            if name.startswith(old)
        ),
        name,
    )
    for candidate in (name, present):
        if candidate in renamed:
            return f"is now {renamed[candidate]}"
    if present in known:
        return f"is now {present}"
    # What all options of a role begin with makes none of them nearer.
    prefix = max((each for each in prefixes if present.startswith(each)), key=len)
    rests = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
    near = nearest(present.removeprefix(prefix), rests)
    return "is not known" + (f"; did you mean {prefix}{near}?" if near else "")
