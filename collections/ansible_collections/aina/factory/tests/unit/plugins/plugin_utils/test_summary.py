from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.plugin_utils import summary


def change(role: str, *what: str, host: str = "vds", **more: str) -> dict[str, Any]:
    return {"host": host, "role": role, "task": "t", "what": list(what), **more}


def test_a_tree_of_files_is_a_count_and_few_things_are_named() -> None:
    tree = [f"/usr/local/lib/factory/module_{number}.py" for number in range(253)]
    mixed = [
        *(f"install package-{n}" for n in range(9)),
        *tree,
        "make user ali",
        "write /etc/docker/daemon.json",
    ]
    mixed += [
        "enable a.service b.timer (it was not enabled)",
        "start a.service (it was not running)",
    ]

    lines = summary.changes(
        [change("factory_command", *tree), change("host_baseline", *mixed), change("drift", "/a")]
    )

    assert lines == [
        "vds: factory_command: 253 files",
        "vds: host_baseline: install 9 packages, 254 files, enable 2 units, start 1 unit, make user ali",
        "vds: drift: /a",
    ]


def test_tasks_of_a_role_are_one_line_and_equal_hosts_too() -> None:
    items = [change("lanes", "/a", host=f"h{n}") for n in range(6)]
    items += [change("lanes", "/b", host=f"h{n}") for n in range(6)]

    assert summary.changes(items) == ["h0, h1, h2, h3 and 2 more: lanes: /a, /b"]


def test_whatever_many_phrases_say_a_line_stays_a_line() -> None:
    (line,) = summary.changes([change("reap", *(f"reap /srv/{n}/{'x' * 300}" for n in range(50)))])

    assert len(line) < 200
    assert line.endswith("(50 in all)")


def test_the_gravest_comes_first_and_many_of_a_kind_are_counted() -> None:
    items = [{"host": "vds", "kind": "root", "what": "ali", "why": "sudo"}]
    items += [{"host": "vds", "kind": "root", "what": "eva", "why": "group docker"}]
    items += [
        {"host": "vds", "kind": "unreachable", "what": f"{n}/tcp of x", "why": "no entry"}
        for n in range(20)
    ]

    lines = summary.known(items, check_mode=True)

    assert lines[0] == "vds: stops being reachable: 0/tcp of x: no entry"
    assert lines[12] == "and 8 more: stops being reachable"
    assert lines[13] == "vds: can become root: ali (sudo), eva (group docker)"
    assert len(lines) == 14
    assert "is not reachable any more" in summary.known(items, check_mode=False)[0]


@pytest.mark.parametrize(
    ("phrase", "what"),
    [
        ("restart cron.service (/etc/localtime changed)", ("restarted", "cron.service")),
        ("restart the engine (ip, log-driver)", ("restarted", "the engine")),
        ("stop nginx.service (it was running)", ("stopped", "nginx.service")),
        ("restart aina-factory-docker-firewall.service (x)", None),
        ("start nginx.service (it was not running)", None),
        ("/etc/restart x (y)", None),
    ],
)
def test_what_restarts_or_ends_is_told(phrase: str, what: tuple[str, str] | None) -> None:
    found = [(item["kind"], item["what"]) for item in summary.restarts([phrase])]

    assert found == ([what] if what else [])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("rest:https://ali:hunter2@backup.example.com/", "rest:https://ali:…@backup.example.com/"),
        ("http://proxy:p%40ss/w@rd@proxy:3128", "http://proxy:…@proxy:3128"),
        ("https://example.com:8443/a@b", "https://example.com:8443/a@b"),
        ("\x1b[2J\rgone", "\\x1b[2J\\rgone"),
    ],
)
def test_no_password_of_an_address_and_nothing_that_moves_the_cursor_is_shown(
    said: str, shown: str
) -> None:
    assert summary.clean(said) == shown


def test_how_a_run_ended_is_one_sentence_with_what_to_do() -> None:
    def ended(failed: list[str], unreachable: list[str], waiting: int) -> str:
        return summary.outcome(failed, unreachable, waiting, check_mode=False)

    assert ended([], [], 0) == "done"
    assert ended([], [], 2) == "done; 2 things wait, see WAITING"
    words = ended(["a", "a"], ["dead"], 0)
    assert words.startswith("not converged everywhere: a failed; dead did not answer;")
    assert "run it again" in words
