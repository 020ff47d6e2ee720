from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import install_manifest, managed_files, packages
from factory.core.host.packages import ObservedPackages, PackagesError, PackagesSpec, RemovalError
from factory.core.host.steps import Context, StepError
from factory.core.host.steps import packages as step

ENGINE = PackagesSpec(
    present=("docker.io",), optional=("docker-cli",), unless_installed=("docker-ce",)
)


class Host:
    """Answers by the first two words of a command, one answer after another."""

    def __init__(self, **answers: Sequence[str | tuple[int, str]]) -> None:
        self.answers = {name: list(values) for name, values in answers.items()}
        self.calls: list[list[str]] = []
        self.simulations: list[list[str]] = []
        self.gone: Mapping[str, Sequence[str]] = {}

    def __call__(self, argv: Sequence[str | bytes], **_: Any) -> Completed:
        words = [str(word) for word in argv]
        if "--simulate" in words:
            return self.simulated(words)
        self.calls.append(words)
        kind = "audit" if "--audit" in words else words[0].replace("-", "_")
        queue = self.answers.get(kind, [""])
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        code, text = answer if isinstance(answer, tuple) else (0, answer)
        return Completed(code, text.encode(), text.encode() if code else b"")

    def simulated(self, words: list[str]) -> Completed:
        """Say what goes: ``gone`` has it for a package, by what is to be done with that."""
        verb, names = ("remove" if "remove" in words else "install"), words[words.index("--") + 1 :]
        self.simulations.append([verb, *names])
        lines = [f"Remv {name} [1]" for name in names] if verb == "remove" else []
        lines += [f"Inst {name} (2 Debian:13 [all])" for name in names if verb == "install"]
        lines += [line for name in names for line in self.gone.get(f"{verb} {name}", ())]
        return Completed(0, "\n".join(lines).encode(), b"")

    def ran(self, program: str) -> list[list[str]]:
        return [call for call in self.calls if call[0] == program]


@pytest.fixture(autouse=True)
def no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    journal = tmp_path / "updates"
    journal.mkdir()
    monkeypatch.setattr(packages, "_JOURNAL_DIR", journal)
    return journal


def situation(
    installed: Sequence[str] = (), candidates: Sequence[str] | None = (), interrupted: str = ""
) -> ObservedPackages:
    return ObservedPackages(dict.fromkeys(installed, "1.0"), interrupted, candidates)


CASES: list[tuple[ObservedPackages, list[str]]] = [
    (situation(), ["install docker.io"]),
    (situation(candidates=["docker-cli"]), ["install docker.io", "install docker-cli"]),
    (situation(candidates=None), ["install docker.io", "install docker-cli, where it can be had"]),
    (situation(["docker.io"], ["docker-cli"]), ["install docker-cli"]),
    (situation(["docker.io"], None), []),
    (situation(["docker.io", "docker-cli"]), []),
    (situation(["docker-ce"], ["docker-cli"]), []),
    (situation(["docker-ce"], interrupted="x"), ["finish the interrupted installation"]),
]


@pytest.mark.parametrize(("found", "actions"), CASES)
def test_the_plan_is_what_is_missing(found: ObservedPackages, actions: list[str]) -> None:
    assert packages.plan(ENGINE, found).actions == actions


def test_a_foreign_engine_is_named() -> None:
    assert packages.plan(ENGINE, situation(["docker-ce"])).adopted == "docker-ce 1.0"


@pytest.mark.parametrize(
    ("installed", "owned", "actions"),
    [
        ("", (1, "no path found"), []),
        ("", "docker-ce: /usr/bin/dockerd", ["install docker.io"]),
        ("docker.io\tinstalled\t1\n", "docker.io: /usr/bin/dockerd", []),
    ],
)
def test_a_program_that_no_package_owns_is_not_overwritten(
    tmp_path: Path, installed: str, owned: str | tuple[int, str], actions: list[str]
) -> None:
    program = tmp_path / "dockerd"
    program.touch()
    spec = PackagesSpec(present=("docker.io",), unless_installed=("docker-ce", str(program)))

    found = packages.plan(spec, packages.read(spec, Host(dpkg_query=[installed, owned]), True))

    assert found.actions == actions
    assert found.adopted == ("" if actions or installed else f"{program} (no package owns it)")


def test_only_fully_installed_packages_count() -> None:
    rows = "git\tinstalled\t1:2.47\ncurl\thalf-configured\t8\nnano\tconfig-files\t7\n"
    host = Host(dpkg_query=[(1, rows)])

    found = packages.read(PackagesSpec(("git", "curl", "nano", "vim")), host, lists_exist=True)

    assert found.installed == {"git": "1:2.47"}


def test_candidates_are_what_apt_can_fetch() -> None:
    policy = (
        "docker-cli:\n  Installed: (none)\n  Candidate: 26.1\n"
        "docker-buildx:\n  Installed: (none)\n  Candidate: (none)\n"
    )
    spec = PackagesSpec(optional=("docker-cli", "docker-buildx", "unheard-of"))

    found = packages.read(spec, Host(apt_cache=[policy]), lists_exist=True)

    assert found.candidates == {"docker-cli"}


def test_entries_in_the_journal_of_dpkg_are_an_interruption(no_journal: Path) -> None:
    assert packages.interruption(Host()) == ""

    (no_journal / "0001").touch()

    assert packages.interruption(Host()) != ""


def test_another_manager_at_work_is_not_repaired() -> None:
    # The audit that planned the repair saw a half-finished installation; once the lock is
    # held, it has been finished by whoever held the lock.
    host = Host(audit=[""])
    plan = packages.plan(PackagesSpec(), situation(interrupted="half-configured: x"))

    packages.apply(plan, host, nullcontext(), 5, lists_are_stale=False)

    assert host.ran("apt-get") == []
    assert [call for call in host.ran("dpkg") if "--configure" in call] == []


def test_what_dpkg_cannot_finish_is_fetched_again() -> None:
    host = Host(
        audit=["half-installed: x", "half-installed: x", ""],
        dpkg_query=["x\treinstreq\thalf-installed\ny\tok\tinstalled\n"],
    )
    plan = packages.plan(PackagesSpec(), situation(interrupted="half-installed: x"))

    packages.apply(plan, host, nullcontext(), 5, lists_are_stale=False)

    assert [call[-1] for call in host.ran("apt-get")] == ["update", "x", "--fix-broken"]


def test_an_installation_beyond_repair_quotes_dpkg() -> None:
    host = Host(audit=["half-installed: x"])
    plan = packages.plan(PackagesSpec(), situation(interrupted="half-installed: x"))

    with pytest.raises(
        PackagesError, match=r"dpkg --audit names: could be .* then run again:\nhalf-installed: x"
    ):
        packages.apply(plan, host, nullcontext(), 5, lists_are_stale=False)


def test_a_package_that_never_configures_is_named_though_apt_does_not() -> None:
    audit = "The following packages are only half configured:\n vendor-agent         x\n"
    host = Host(audit=[audit], apt_get=[(100, "E: Sub-process dpkg returned an error code (1)")])
    plan = packages.plan(PackagesSpec(), situation(interrupted=audit))

    with pytest.raises(PackagesError, match="vendor-agent") as caught:
        packages.apply(plan, host, nullcontext(), 1, False)

    assert str(caught.value).startswith("vendor-agent: could be finished neither")
    assert "'apt-get remove vendor-agent'" in str(caught.value)
    assert "error code" in str(caught.value)


@pytest.mark.parametrize("stale", [False, True])
def test_fresh_lists_are_used_as_they_are_and_old_ones_are_fetched_anew(stale: bool) -> None:
    host = Host(apt_cache=["docker.io:\n  Candidate: 26\n"])
    plan = packages.plan(ENGINE, situation())

    packages.apply(plan, host, nullcontext(), 5, lists_are_stale=stale)

    assert [call[-1] for call in host.ran("apt-get")] == ["update"] * stale + ["docker.io"]


def test_a_package_that_no_list_knows_leads_to_fresh_lists() -> None:
    host = Host()

    packages.apply(
        packages.plan(ENGINE, situation()), host, nullcontext(), 5, lists_are_stale=False
    )

    assert host.ran("apt-get")[0][-1] == "update"


def test_a_failure_of_apt_is_quoted() -> None:
    host = Host(apt_get=[(100, "E: Unable to locate package docker.io")])

    with pytest.raises(PackagesError, match="Unable to locate package"):
        packages.apply(
            packages.plan(ENGINE, situation()), host, nullcontext(), 5, lists_are_stale=False
        )


def test_nothing_is_ever_purged() -> None:
    host = Host()
    spec = PackagesSpec(absent=("docker.io",))

    packages.apply(
        packages.plan(spec, situation(["docker.io"])), host, nullcontext(), 5, lists_are_stale=False
    )

    assert host.ran("apt-get")[0][-3:] == ["remove", "--", "docker.io"]


CLOCK = PackagesSpec(present=("chrony | ntpsec | systemd-timesyncd",))


@pytest.mark.parametrize(
    ("installed", "actions"),
    [((), ["install chrony"]), (("chrony",), []), (("systemd-timesyncd",), [])],
)
def test_an_alternative_that_is_there_spares_the_preferred_package(
    installed: Sequence[str], actions: list[str]
) -> None:
    assert packages.plan(CLOCK, situation(installed=installed)).actions == actions


@pytest.mark.parametrize(("own", "removed"), [((), ()), (("chrony",), ("chrony",))])
def test_with_a_record_only_what_an_earlier_run_installed_is_removed(
    own: Sequence[str], removed: tuple[str, ...]
) -> None:
    spec = PackagesSpec(absent=("chrony", "restic"), own_only=True)
    found = ObservedPackages({"chrony": "4"}, "", (), own)

    plan = packages.plan(spec, found)

    assert (plan.remove, {*plan.remove, *plan.kept}) == (removed, {"chrony"})


def test_without_a_record_nothing_that_was_to_go_is_kept() -> None:
    spec = PackagesSpec(absent=("chrony",))

    plan = packages.plan(spec, situation(installed=["chrony"]))

    assert (plan.remove, plan.kept) == (("chrony",), ())


FIREWALL = PackagesSpec(present=("git", "ufw"))
CONFLICT = {
    "install ufw": ["Remv iptables-persistent [1.0.23]", "Remv netfilter-persistent [1.0.23]"]
}


def apply(spec: PackagesSpec, found: ObservedPackages, host: Host) -> packages.PackagesPlan:
    plan = packages.plan(spec, found)
    return packages.apply(plan, host, nullcontext(), 5, lists_are_stale=False)


def test_an_installation_that_would_remove_something_undeclared_is_refused() -> None:
    host = Host(apt_cache=["git:\n  Candidate: 2\nufw:\n  Candidate: 1\n"])
    host.gone = CONFLICT

    with pytest.raises(RemovalError) as refused:
        apply(FIREWALL, situation(), host)

    assert str(refused.value).startswith(
        "to install ufw, apt would remove iptables-persistent netfilter-persistent, which nobody declared"
    )
    assert "'apt-get remove iptables-persistent netfilter-persistent'" in str(refused.value)
    assert host.ran("apt-get") == []


def test_what_is_declared_absent_may_give_way() -> None:
    spec = PackagesSpec(("ufw",), absent=("iptables-persistent", "netfilter-persistent"))
    host = Host(apt_cache=["ufw:\n  Candidate: 1\n"])
    host.gone = CONFLICT

    done = apply(spec, situation(["iptables-persistent", "netfilter-persistent"]), host)

    assert done.actions == [
        "install ufw",
        "remove iptables-persistent",
        "remove netfilter-persistent",
    ]
    assert [call[-1] for call in host.ran("apt-get")] == ["ufw", "netfilter-persistent"]


def test_no_call_of_apt_may_remove_what_the_question_did_not_show() -> None:
    host = Host(
        apt_cache=["ufw:\n  Candidate: 1\n"],
        audit=["half-installed: x", "half-installed: x", ""],
        dpkg_query=["x\treinstreq\thalf-installed\n"],
    )

    apply(PackagesSpec(("ufw",)), situation(interrupted="half-installed: x"), host)

    calls = host.ran("apt-get")
    # Each waits for another package manager, as long as is declared.
    assert all("--option=DPkg::Lock::Timeout=5" in call for call in calls)
    # The administrator's version of a configuration file stays, and nothing comes along.
    assert all("--option=Dpkg::Options::=--force-confold" in call for call in calls)
    installs = [call for call in calls if "install" in call]
    assert len(installs) == 3
    assert all({"--no-remove", "--no-install-recommends"} <= set(call) for call in installs)


def test_a_new_version_of_a_package_is_no_removal() -> None:
    host = Host(apt_cache=["ufw:\n  Candidate: 1\n"])
    host.gone = {"install ufw": ["Remv iptables [1]", "Inst iptables [1] (2 Debian:13 [amd64])"]}

    assert apply(PackagesSpec(("ufw",)), situation(), host).install == ("ufw",)


def test_a_package_that_another_one_needs_stays() -> None:
    spec = PackagesSpec(absent=("docker.io", "restic"))
    host = Host()
    host.gone = {"remove docker.io": ["Remv docker-compose [1]"]}

    done = apply(spec, situation(["docker.io", "restic"]), host)

    assert (done.remove, done.needed) == (("restic",), {"docker.io": ["docker-compose"]})
    assert [call[-2:] for call in host.ran("apt-get")] == [["--", "restic"]]


def test_apt_is_asked_nothing_where_nothing_is_to_be_done() -> None:
    host = Host()

    apply(FIREWALL, situation(["git", "ufw"]), host)

    assert (host.simulations, host.calls) == ([], [])


def test_without_an_answer_of_apt_nothing_is_installed() -> None:
    class Silent(Host):
        def simulated(self, words: list[str]) -> Completed:
            return Completed(100, b"", b"E: Unmet dependencies")

    host = Silent(apt_cache=["ufw:\n  Candidate: 1\n"])

    with pytest.raises(PackagesError, match="Unmet dependencies"):
        apply(PackagesSpec(("ufw",)), situation(), host)

    assert host.ran("apt-get") == []


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_refused_installation_is_foretold_and_leaves_no_record(
    monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    host = Host(apt_cache=["git:\n  Candidate: 2\nufw:\n  Candidate: 1\n"])
    host.gone = CONFLICT
    recorded: list[set[str]] = []

    def record(_path: str | None, _kind: str, names: Collection[str], _run: Any) -> None:
        recorded.append(set(names))

    monkeypatch.setattr(install_manifest, "write", record)
    monkeypatch.setattr(packages, "lists_age_seconds", lambda _now: 1.0)
    parameters: dict[str, Any] = {
        key: value["default"] for key, value in step.ARGUMENTS.items() if "default" in value
    }

    with pytest.raises(StepError, match="apt would remove iptables-persistent"):
        step.execute(
            {**parameters, "present": ["git", "ufw"], "record_path": "/nonexistent/record"},
            Context(host, check_mode, pytest.fail),
        )

    assert recorded[-1:] == ([] if check_mode else [set()])


@pytest.mark.parametrize(
    ("needed_by", "kept"),
    [("openssh-server", []), ("sshfs", ["package openssh-client"])],
    ids=["of-another-part", "of-a-stranger"],
)
def test_what_only_another_part_of_the_declaration_needs_is_not_told_as_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, needed_by: str, kept: list[str]
) -> None:
    for part, name in {"drift": "openssh-client", "host_baseline": "openssh-server"}.items():
        (tmp_path / f"packages-{part}.json").write_text(f'{{"installed": ["{name}"]}}')
    host = Host(dpkg_query=["openssh-client\tinstalled\t1\n"])
    host.gone = {"remove openssh-client": [f"Remv {needed_by} [1]"]}
    monkeypatch.setattr(packages, "lists_age_seconds", lambda _now: 1.0)
    parameters = {key: value.get("default") for key, value in step.ARGUMENTS.items()}
    told: list[str] = []

    done = step.execute(
        {
            **parameters,
            "absent": ["openssh-client"],
            "record_path": str(tmp_path / "packages-drift.json"),
        },
        Context(host, True, told.append),
    )

    assert (done["changed"], done["kept"], len(told)) == (False, kept, len(kept))


def test_what_stays_for_want_of_a_record_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(dpkg_query=["docker.io\tinstalled\t26\n"])
    monkeypatch.setattr(packages, "lists_age_seconds", lambda _now: 1.0)
    parameters: dict[str, Any] = {
        key: value["default"] for key, value in step.ARGUMENTS.items() if "default" in value
    }
    parameters |= {"absent": ["docker.io"], "record_path": "/nonexistent/record"}
    warnings: list[str] = []
    context = Context(host, False, warnings.append)

    quiet = step.execute(parameters, context)
    assert (quiet["changed"], quiet["kept"], warnings) == (False, [], [])
    told = step.execute({**parameters, "kept_reported": True}, context)

    assert told["kept"] == ["package docker.io"]
    assert "docker.io: nothing records that an earlier run has installed them" in warnings[0]


class Apt(Host):
    """Keeps which packages are installed; a library comes along, and goes when nobody needs it."""

    def __init__(self, needed: bool = False) -> None:
        super().__init__()
        self.there, self.needed = {"apt"}, needed

    def __call__(self, argv: Sequence[str | bytes], **options: Any) -> Completed:
        words = [str(word) for word in argv]
        names = words[words.index("--") + 1 :] if "--" in words else []
        if words[:2] == ["dpkg-query", "--show"]:
            told = [f"{name}\tinstalled\t1" for name in sorted(self.there)]
            return Completed(0, "\n".join(told).encode(), b"")
        if words[:1] == ["apt-cache"]:
            return Completed(
                0, "".join(f"{name}:\n  Candidate: 1\n" for name in words[2:]).encode(), b""
            )
        if words[-1] == "autoremove":
            told = [] if self.needed else ["Remv libaudit [1]", "Remv somebodys [1]"]
            return Completed(0, "\n".join(told).encode(), b"")
        if words[0] == "apt-get" and "--simulate" not in words:
            self.there = self.there - {*names} if "remove" in words else self.there | {*names}
            self.there |= {"libaudit"} if "install" in words else set()
        return super().__call__(argv, **options)


@pytest.mark.parametrize("needed", [True, False])
def test_what_came_along_with_a_package_goes_with_it(
    needed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(packages, "lists_age_seconds", lambda _now: 1.0)
    monkeypatch.setattr(packages, "LOCK_PATH", tmp_path / "lock")
    monkeypatch.setattr(managed_files, "_set_attributes", lambda *_: None)
    record = tmp_path / "packages-hardening.json"
    host = Apt(needed)
    context = Context(host, False, pytest.fail)
    parameters = {key: value.get("default") for key, value in step.ARGUMENTS.items()}
    parameters["record_path"] = str(record)

    step.execute({**parameters, "present": ["auditd"]}, context)
    assert host.there == {"apt", "auditd", "libaudit"}
    step.execute({**parameters, "absent": ["auditd"]}, context)

    assert host.there == ({"apt", "libaudit"} if needed else {"apt"})
    assert not record.exists()
