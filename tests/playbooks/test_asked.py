"""What the playbooks ask of a server that is as the production inventory declares it."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from playbooks.asked import Step, asked, entries, files

from factory.core.host import managed_files

pytestmark = pytest.mark.slow

SECRET = "Xq7-not-for-anybody"  # noqa: S105 - opens nothing
DECLARED = {
    "secret_github_token": f"{SECRET}-github",
    "secret_marshal_token": f"{SECRET}-marshal",
    "secret_codex_key": f"{SECRET}-codex",
    "watchdog_notify_urls": [f"ntfys://ntfy.example.com/{SECRET}"],
    "watchdog_dead_man_urls": [f"https://dead.example.com/{SECRET}"],
    "drift_repository": "https://git.example.com/operator/servers",
    "factory_github": {
        "release_api_url": "https://mirror.example.com/api/v3",
        "login": {"method": "token_file", "token_file": "/etc/aina-factory/secrets/github-token"},
        "logins": {
            "marshal": {
                "method": "token_file",
                "token_file": "/etc/aina-factory/secrets/marshal-token",
            }
        },
    },
    "gh_actions_runner_total_cpus": 6,
    "gh_actions_runner_total_tasks_count": 4321,
    "gh_actions_runner_unit_environment": {"https_proxy": "http://u%40x@proxy.example.com:3128"},
    "workflow_policy_host": "elsewhere",
}
MANAGED = {"paperclip_service_managed": True}
# What stays: data, what is shared and by then empty, and what the operator declared as the user's.
# The runners' own directories go with the runners, by the module that ends them.
STAYS = {
    *("/etc/aina-factory", "/etc/aina-factory/conf.d", "/etc/aina-factory/on-failure.d"),
    *("/srv/repos", "/home/ali/agent-workspaces"),
    *("/var/lib/aina-factory", "/var/lib/aina-factory/lanes", "/var/lib/aina-factory/marshal"),
    "/var/lib/aina-factory/watchdog",
    *("/opt/gha-runner", "/opt/gha-runner/hooks", "/opt/gha-runner/hooks/clean-workspace.sh"),
    *("/var/lib/gha-runner", "/var/lib/aina-factory/runners"),
    "/var/lib/aina-factory/runners/drained",
    *("/home/ali/.config", "/home/ali/.config/aina-factory", "/home/ali/.config/systemd"),
    *("/home/ali/.config/systemd/user", "/home/ali/.paperclip", "/var/backups/paperclip"),
}
DATA = {
    *(path for path in STAYS if path.startswith(("/var/lib/aina-factory", "/srv", "/home"))),
    *("/var/lib/aina-factory/jobs", "/var/lib/aina-factory/status.json", "/var/lib/docker"),
    "/var/lib/systemd/linger/ali",
}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Step]]:
    return asked(
        tmp_path_factory.mktemp("asked"),
        {
            "server": ("site.yml", DECLARED | MANAGED),
            "watched": ("paperclip.yml", {}),
            "left": ("uninstall.yml", DECLARED),
            "rotated": ("rotate.yml", DECLARED),
            "proposing": ("workflows.yml", DECLARED),
            "elsewhere": ("", {}),
        },
    )


def covers(above: str, path: str) -> bool:
    return path == above or path.startswith(f"{above}/")


def gone(hosts: dict[str, list[Step]]) -> list[str]:
    return entries(hosts["left"], "managed_files", "absent")


def test_what_was_made_goes_but_for_what_shall_stay(hosts: dict[str, list[Step]]) -> None:
    left = {
        path
        for path in files(hosts["server"])
        if not any(covers(above, path) for above in gone(hosts))
    }

    assert left == STAYS


def test_no_data_goes(hosts: dict[str, list[Step]]) -> None:
    assert [path for path in gone(hosts) if any(covers(path, data) for data in DATA)] == []


def test_what_was_started_is_stopped_before_its_unit_goes(hosts: dict[str, list[Step]]) -> None:
    own = {Path(path).name for path in files(hosts["server"]) if covers("/etc/systemd", path)}
    units = entries(hosts["server"], "units", "units")
    running = {unit["name"] for unit in units if unit.get("enabled")} & own
    assert running
    stopped: set[str] = set()
    for step in hosts["left"]:
        stopped |= {
            unit["name"]
            for unit in step.options.get("units") or ()
            if (unit.get("enabled"), unit.get("state")) == (False, "stopped")
        }
        running -= {Path(path).name for path in step.options.get("absent") or ()} & stopped

    assert running == set()


def records(steps: list[Step]) -> set[str]:
    """Return the records of the packages that roles install or give back."""
    found = [step.options for step in steps if step.module == "packages"]
    return {options["record_path"] for options in found if options.get("record_path")}


def test_accounts_and_packages_go_whose_only_user_leaves(hosts: dict[str, list[Step]]) -> None:
    here, left = hosts["server"], hosts["left"]

    made = entries(here, "system_users", "present")
    assert {*entries(left, "system_users", "absent")} == {*made} != set()
    giving = [step for step in left if step.options.get("absent")]
    assert records(here) == records(giving) != set()


def test_where_paperclip_runs_by_other_means_it_is_only_watched(
    hosts: dict[str, list[Step]],
) -> None:
    watched, run = hosts["watched"], hosts["server"]

    assert {*files(watched)} == {
        "/etc/aina-factory/conf.d",
        "/etc/aina-factory/conf.d/paperclip.json",
    }
    assert entries(watched, "packages", "present") == entries(watched, "units", "units") == []
    assert "paperclipai.service" in [unit["name"] for unit in entries(run, "units", "units")]


def test_a_changed_secret_is_written_and_then_who_has_read_it_starts_anew(
    hosts: dict[str, list[Step]],
) -> None:
    rotated = hosts["rotated"]
    written = [
        number
        for number, step in enumerate(rotated)
        if any(SECRET in file.get("content", "") for file in step.options.get("files") or ())
    ]
    anew = [
        number
        for number, step in enumerate(rotated)
        if step.options.get("credentials_of") == ["factory-*.service"]
    ]

    assert written and anew and max(written) < min(anew)


def test_whatever_holds_a_secret_is_for_its_user_alone_and_in_no_difference(
    hosts: dict[str, list[Step]],
) -> None:
    secret = {
        path: file
        for path, file in files(hosts["server"]).items()
        if SECRET in file.get("content", "")
    }

    assert len(secret) == 5, secret.keys()
    assert {(file.get("mode"), file.get("sensitive")) for file in secret.values()} == {
        ("0600", True)
    }


def test_nothing_else_stays_among_the_addresses_of_the_watchdog(
    hosts: dict[str, list[Step]], tmp_path: Path
) -> None:
    declared = files(hosts["server"])["/etc/aina-factory/watchdog"]
    place = tmp_path / "watchdog"
    place.mkdir()
    (place / "stray.conf").write_text("an address of yesterday")
    attributes = managed_files.Attributes(None, None, int(declared["mode"], 8))
    exclusive = bool(declared.get("exclusive"))
    directory = managed_files.DirectorySpec(str(place), attributes, exclusive=exclusive)
    (place / "apprise.conf").write_text("kept")
    kept = managed_files.FileSpec(str(place / "apprise.conf"), b"kept", attributes)

    changes = managed_files.plan([directory], [kept], ())

    assert "stray.conf" in {Path(change.path).name for change in changes}


def slice_of_runners(hosts: dict[str, list[Step]], place: Path) -> configparser.SectionProxy:
    text = files(hosts["server"])["/etc/systemd/system/factory-runners.slice"]["content"]
    unit = place / "factory-runners.slice"
    unit.write_text(text)
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
        )
        assert f"{unit}:" not in done.stderr, done.stderr
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser["Slice"]


def test_all_runners_together_have_their_processors_and_tasks(
    hosts: dict[str, list[Step]], tmp_path: Path
) -> None:
    found = slice_of_runners(hosts, tmp_path)

    assert (found["CPUQuota"], found["TasksMax"]) == ("600%", "4321")
    assert (found["MemoryHigh"], found["MemoryMax"]) == ("70%", "75%")


def test_supervisors_and_healer_are_told_of_a_proxy(hosts: dict[str, list[Step]]) -> None:
    written = files(hosts["server"])
    for name in ("factory-runner@.service", "factory-runner-heal.service"):
        content = written[f"/etc/systemd/system/{name}"]["content"]
        # As systemd reads it, for which a per cent sign begins something.
        assert 'Environment="https_proxy=http://u%%40x@proxy.example.com:3128"\n' in content


def test_releases_of_the_runner_are_looked_up_where_it_was_said(
    hosts: dict[str, list[Step]],
) -> None:
    factory = json.loads(files(hosts["server"])["/etc/aina-factory/factory.json"]["content"])

    assert factory["github"]["release_api_url"] == "https://mirror.example.com/api/v3"


def test_the_memory_of_the_marshal_is_its_users(hosts: dict[str, list[Step]]) -> None:
    place = files(hosts["server"])["/var/lib/aina-factory/marshal"]

    assert (place.get("owner"), place["mode"]) == ("factory-marshal", "0700")


def test_workflows_are_proposed_from_the_host_that_has_the_token(
    hosts: dict[str, list[Step]],
) -> None:
    asked_there = [step.options["repository"] for step in hosts.get("elsewhere", ())]

    assert asked_there == ["ainative-academy/aina-academy"]
    assert "proposing" not in hosts
