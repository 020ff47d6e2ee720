"""Names of an inventory's variables: which a role reads, which are called otherwise now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ..base.configuration import nearest


def _logins(role: str, capability: str) -> dict[str, str]:
    login = f"factory_github.login, or .logins.{capability}"
    return {
        f"{role}_github_api_url": "factory_github.api_url",
        f"{role}_github_git_url": "factory_github.git_url",
        f"{role}_login_method": f"method of {login}",
        f"{role}_token_path": f"token_file of {login}",
        f"{role}_app_id": f"app_id of {login}",
        f"{role}_app_key_path": f"app_key_file of {login}",
    }


def _parts(prefix: str, keys: Mapping[str, str]) -> dict[str, str]:
    """Return what variables are that have become keys of others: last words -> variable and key."""
    return {
        f"{prefix}_{old}": "{1} of {0}".format(*f"{prefix}_{now}".split("."))
        for old, now in keys.items()
    }


# Former name -> what to write instead; kept for one release.
RENAMED: Mapping[str, str] = {
    "factory_crons_jobs": "factory_jobs",
    "factory_command_reap": "worktrees_grace_seconds and the other options of the role worktrees",
    "gh_actions_runner_ca_path": "gh_actions_runner_ca_file",
    "images_ca_path": "images_ca_file",
    "images_npmrc_path": "images_npmrc_file",
    "images_projects_dir": "factory_projects_dir",
    "lanes_engines": "lanes_agents",
    "lanes_projects_dir": "factory_projects_dir",
    "lanes_upstream_ca_path": "lanes_upstream_ca_file",
    "host_baseline_backup": "backup_repository, backup_paths and the other options of the role backup",
    "factory_command_projects": "factory_projects",
    "factory_command_github": "factory_github",
    **{
        f"{role}_projects": "factory_projects"
        for role in (
            "gh_actions_runner",
            "images",
            "lanes",
            "marshal",
            "workflow_policy",
            "worktrees",
        )
    },
    **_logins("gh_actions_runner", "runners"),
    **_logins("lanes", "lanes"),
    **_logins("marshal", "marshal"),
    **_logins("workflow_policy", "workflows"),
    "gh_actions_runner_release_api_url": "factory_github.release_api_url",
    "marshal_ca_path": "factory_github.ca_file",
    "lanes_github_ca_path": "factory_github.ca_file",
    **_parts(
        "watchdog",
        {
            "measure_roots": "measure.roots",
            "measure_extra_roots": "measure.extra_roots",
            "measure_timeout_seconds": "measure.timeout_seconds",
            "reminder_first_hours": "reminders.first_hours",
            "reminder_longest_hours": "reminders.longest_hours",
            "message_title": "notify.title",
            "message_body": "notify.body",
            "heal_mode": "heal.mode",
            "heal_workspace_roots": "heal.workspace_roots",
            "heal_units": "heal.units",
            "heal_max_per_day_count": "heal.max_per_day_count",
            "heal_cooldown_minutes": "heal.cooldown_minutes",
            "heal_max_attempts_count": "heal.max_attempts_count",
            "heal_lanes": "heal.lanes",
            "heal_lanes_max_per_day_count": "heal.lanes_max_per_day_count",
        },
    ),
    "workflow_policy_ca_path": "factory_github.ca_file",
}
# Former beginning -> present one; kept for one release.
RENAMED_PREFIXES: Mapping[str, str] = {
    "agent_lanes_": "lanes_",
    "factory_images_": "images_",
    "release_marshal_": "marshal_",
}


def problems(
    names: Iterable[str],
    known: Collection[str],
    prefixes: Collection[str],
    renamed: Mapping[str, str],
    renamed_prefixes: Mapping[str, str],
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
