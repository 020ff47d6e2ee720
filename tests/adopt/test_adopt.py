"""A server that grew by hand, a blank one and a broken one all end in the same declared state."""

from __future__ import annotations

import re
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cores
import pytest
from sampling import draw
from waiting import until

from adopt import support
from adopt.support import Host, Ran

pytestmark = [pytest.mark.slow, pytest.mark.engine]

ROTTEN, REBUILT, OLD_RELEASE = "adopt-rotten", "adopt-rebuilt", "adopt-old-release"
# How many interruptions a playbook can get; the longest ones get the most.
SHARES = {
    **{"host": 9, "docker": 6, "images": 6, "runners": 5, "lanes": 3, "upkeep": 3, "marshal": 1},
    "drift": 1,
}
# The first interruptions of the images cut off the building itself: the host loses power.
BUILD_MOMENTS = ("pgrep -x mmdebstrap", "docker images | grep candidate")
DELAYS_SECONDS = (0.0, 0.4, 1.0, 2.0)
PARKED = ("watchdog", "janitor", "release-marshal")
RUNNER = "/srv/aina/actions-runner"
NATIVE_UNIT = "factory-runner-native-host"
# Works until its runner's successor is up, and then some: it must not be cut short by that.
JOB = f"until systemctl is-active --quiet {NATIVE_UNIT}; do sleep 1; done; sleep 6; echo whole"


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    made = support.create(ROTTEN, REBUILT, OLD_RELEASE)
    yield made | {OLD_RELEASE: Host(OLD_RELEASE, newest_core())}
    support.destroy(*made)


def newest_core() -> Path:
    """Return the environment with the newest core, which serves the oldest of the hosts."""
    try:
        return cores.environment(cores.NEWEST)
    except cores.NoPythonError as error:
        warnings.warn(f"the newest ansible-core is not tried: {error}", stacklevel=1)
        return Path(sys.prefix)


@pytest.fixture(scope="module")
def rotten(hosts: dict[str, Host]) -> Host:
    support.make_rotten(hosts[ROTTEN])
    return hosts[ROTTEN]


@pytest.fixture(scope="module")
def before(rotten: Host) -> dict[str, str]:
    return rotten.manifest()


def prepare_blank(host: Host) -> None:
    """What a provider gives with a new server: the administrator's account and key."""
    host.shell(
        "id ali >/dev/null 2>&1 || useradd --create-home --shell /bin/bash ali; mkdir -p /home/ali/.ssh && "
        "echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHN0YW5kcyBmb3IgdGhlIGFkbWluaXN0cmF0b3I= ali' "
        ">/home/ali/.ssh/authorized_keys && chmod -R go= /home/ali/.ssh && chown -R ali:ali /home/ali"
    )


@pytest.fixture(scope="module")
def job(rotten: Host, before: dict[str, str]) -> int:
    """A job that the runner of the old days works on."""
    number = support.queue_job("vds", JOB)
    until(lambda: support.job(number)["status"] == "in_progress", "the beginning of a job")
    return number


# --- Adoption ----------------------------------------------------------------


@pytest.fixture(scope="module")
def plan(rotten: Host, before: dict[str, str], job: int) -> Ran:
    """What a converge would do while the runner of the old days is at work."""
    return rotten.play("--check", "--diff")


def test_the_plan_says_what_becomes_of_everything_and_changes_nothing(
    rotten: Host, before: dict[str, str], job: int, plan: Ran
) -> None:
    assert plan.returncode == 0, plan.output
    assert rotten.manifest() == before
    # Taken over, replaced, removed, kept.
    assert {f"park /srv/aina/ops/{name}.sh" for name in PARKED} <= plan.what
    for name in (*PARKED, "coo-ops-loop"):
        assert f"/srv/aina/ops/{name}.sh" in plan.output
    for step in ("close it at GitHub", "end its processes"):
        assert f"{RUNNER}: {step}" in plan.output
    assert support.job(job)["status"] == "in_progress"
    assert "-# PAUSED 2026-06-30 (Ali: save GitHub CI minutes)" in plan.output
    assert "-30 6 * * 1 /home/ali/bin/weekly-report.sh" not in plan.output


@pytest.fixture(scope="module")
def adopted(rotten: Host, plan: Ran) -> tuple[set[str], set[str]]:
    """What the plan announced, and what the converge did."""
    support.foundation("load", rotten)
    done = rotten.converge()
    support.foundation("save", rotten)
    return plan.what, done.what


def test_adoption_takes_over_and_loses_nothing(
    rotten: Host, before: dict[str, str], job: int, adopted: tuple[set[str], set[str]]
) -> None:
    planned, done = adopted

    assert planned == done
    after = rotten.manifest()
    moved = {f"/srv/aina/ops/{name}.sh": f"/srv/aina/ops/parked/{name}.sh" for name in PARKED}
    for old, new in moved.items():
        assert after[new] == before[old]
    own = (
        "/etc/",
        "/usr/local/",
        "/var/spool/cron/crontabs/ali",
        # The application forgets a registration that GitHub has ended.
        f"{RUNNER}/.runner",
        f"{RUNNER}/.credentials",
    )
    lost = [
        path
        for path, what in before.items()
        if after.get(path) != what
        and path not in moved
        and not path.startswith(own)
        # The engine's own bookkeeping of images; that they are there is asked below.
        and not path.startswith("/var/lib/docker")
        and "directory" not in what
    ]
    assert lost == []
    changed = {
        path for path in before if path.startswith("/etc/") and after.get(path) != before[path]
    }
    assert {path for path in changed if path not in after} == set()
    images = rotten.shell("docker images --format '{{.Repository}}'").split()
    assert {"alpine", "hello-world"} <= set(images)
    # The runner of the old days has finished its job and given way to the declared one.
    finished = support.job(job)
    assert (finished["runner"], finished["conclusion"]) == ("vds-runner", "success")
    assert finished["log"].endswith("whole\n")
    assert rotten.shell(f"pgrep --full {RUNNER}/", check=False) == ""
    come_online(rotten)


@pytest.mark.usefixtures("adopted")
def test_the_adopted_server_works(rotten: Host) -> None:
    works(rotten)


def works(host: Host, prefix: str = "vds") -> None:
    """Let each kind of runner take a job, and a lane make a pull request."""
    numbers = {label: support.queue_job(label, "echo $RUNNER_NAME") for label in ("vds", "onhost")}
    lane = support.run_lane(host)
    logs = {
        label: until(partial(support.finished_job, number), f"a job for {label}")["log"]
        for label, number in numbers.items()
    }

    assert re.fullmatch(rf"{prefix}-aina-academy-[12]-\w+\n", logs["vds"])
    assert logs["onhost"] == f"{prefix}-host\n"
    assert lane["outcome"] == "changed", lane
    pull = support.api(host, "GET", f"/pulls/{lane['pull_request']['number']}")
    assert pull["head"]["sha"] == lane["head"]
    assert lane["residue"] == []
    come_online(host, prefix)


def come_online(host: Host, prefix: str = "vds") -> None:
    """Wait until GitHub reaches exactly the declared runners."""
    pool = [f"{prefix}-aina-academy-{slot} online X64 linux self-hosted vds" for slot in (1, 2)]
    wanted = [*pool, f"{prefix}-host online Linux X64 onhost self-hosted"]
    until(lambda: support.registrations(host) == wanted, "the declared runners")


@pytest.mark.usefixtures("adopted")
def test_no_job_runs_twice_and_none_is_lost(rotten: Host) -> None:
    crontab = rotten.shell("crontab -u ali -l")
    timers = rotten.shell("systemctl list-timers --all --no-legend --plain 'factory-job-*'")

    assert crontab.splitlines() == ["# mine", "30 6 * * 1 /home/ali/bin/weekly-report.sh"]
    for name in (*PARKED,):
        assert f"factory-job-{name}.timer" in timers
    # The pause and its reason are data now.
    jobs = rotten.shell("factory jobs")
    assert "save GitHub CI minutes (declared, ali, 2026-06-30)" in jobs
    assert "factory-job-coo-ops-loop.timer" not in rotten.shell(
        "systemctl list-timers --no-legend --plain 'factory-job-*'"
    )
    assert rotten.shell("cat /var/backups/aina-factory/crontab-ali").count("/srv/aina/ops/") >= 4


@pytest.mark.usefixtures("adopted")
def test_old_readers_find_their_status_file(rotten: Host) -> None:
    rotten.shell("factory watchdog >/dev/null 2>&1; true")

    document = rotten.shell("python3 -m json.tool /srv/aina/ops/WATCHDOG-STATUS.json")

    assert '"alerts"' in document


@pytest.mark.deep
@pytest.mark.usefixtures("adopted")
def test_a_second_converge_of_the_adopted_server_changes_nothing(rotten: Host) -> None:
    before = rotten.fingerprint()

    plan, again = rotten.play("--check"), rotten.converge()

    assert (plan.what, again.what) == (set(), set())
    assert rotten.fingerprint() == before
    assert support.stray_daemons(rotten) == []


# --- Rebuild -----------------------------------------------------------------


@pytest.fixture(scope="module")
def blank(hosts: dict[str, Host]) -> dict[str, set[str]]:
    """What the servers that a provider gives have before anything of ours."""
    for name in (REBUILT, OLD_RELEASE):
        prepare_blank(hosts[name])
    return {name: support.belongings(hosts[name]) for name in (REBUILT, OLD_RELEASE)}


@pytest.fixture(scope="module")
def rebuilt(hosts: dict[str, Host], blank: dict[str, set[str]]) -> Host:
    return hosts[REBUILT]


def kill_points() -> list[tuple[str, int]]:
    """Return the interruptions that are tried, as playbook and number."""
    every = [(name, number) for name, share in SHARES.items() for number in range(1, share + 1)]
    return draw("moments of a kill", every)


def survive(rebuilt: Host, points: list[tuple[str, int]]) -> int:
    """Interrupt runs from a blank host on; return how many were really interrupted."""
    interrupted = 0
    for position, (name, number) in enumerate(points):
        if name == "images" and number <= len(BUILD_MOMENTS):
            lose_power_while_building(rebuilt, BUILD_MOMENTS[number - 1])
            interrupted += 1
            continue
        delay = DELAYS_SECONDS[position % len(DELAYS_SECONDS)]
        # Beyond the last task the point goes to the beginning of one that every run has.
        tasks = ((number, delay), (2, delay), (2, 0.0), (1, 0.0))
        interrupted += any(
            rebuilt.kill_in_task(task, wait, f"playbooks/{name}.yml") for task, wait in tasks
        )
    return interrupted


def bring_the_engine(host: Host) -> set[str]:
    """Converge what builds images, and no more; return what was changed."""
    what = set()
    for needed in ("host", "docker"):
        done = host.play(playbook=f"playbooks/{needed}.yml")
        assert done.returncode == 0, done.output
        what |= done.what
    return what


def lose_power_while_building(rebuilt: Host, moment: str) -> None:
    # What builds is there, or half of it by now.
    bring_the_engine(rebuilt)
    rebuilt.lose_power_when(moment, "playbooks/images.yml")


def test_a_blank_server_killed_at_every_point_ends_in_the_adopted_state(
    rotten: Host, rebuilt: Host
) -> None:
    of_adopted = comparable(rotten)
    # It takes the place of one that is lost: the same name, and the registration at GitHub.
    support.sh("docker", "kill", rotten.container)
    support.ask_github("POST", "/clock", {"seconds": 61})

    points = kill_points()
    assert survive(rebuilt, points) == len(points)
    if not any(name == "images" for name, _number in points):
        bring_the_engine(rebuilt)
        support.foundation("load", rebuilt)

    rebuilt.converge()
    assert support.stray_daemons(rebuilt) == []
    assert rebuilt.play().what == set()
    come_online(rebuilt)
    of_rebuilt = comparable(rebuilt)
    assert of_rebuilt - of_adopted == set()
    # The adopted one has, beside that, what its owner had installed.
    foreign = re.compile(
        r"\S+ \S+ install ok installed|\S+ +(static|enabled|disabled|alias|generated|indirect|masked)"
    )
    assert {line for line in of_adopted - of_rebuilt if not foreign.match(line)} == set()


def comparable(host: Host) -> set[str]:
    """Return the fingerprint without the host's name, numbers and past."""
    past = ("packages-host_baseline.json", "docker-daemon.json", ":previous ")
    return {
        re.sub(r"\b\d+\(", "(", line.replace(host.name, "HOST"))
        for line in host.fingerprint()
        if not any(word in line for word in past)
    }


def test_lost_connections_are_made_up_for(rebuilt: Host) -> None:
    before = rebuilt.fingerprint()
    spoil(rebuilt)

    places = ((2, "host"), (3, "docker"), (2, "images"), (3, "upkeep"))
    for task, playbook in draw("connections that are lost", places):
        assert rebuilt.lose_connection_in_task(task, f"playbooks/{playbook}.yml")

    rebuilt.converge()
    assert rebuilt.fingerprint() == before
    assert support.stray_daemons(rebuilt) == []


def spoil(host: Host) -> None:
    """Let a server drift: a file, a timer, an engine's setting, a rule, a package."""
    host.shell(
        "echo '# by hand' >>/etc/systemd/journald.conf.d/60-aina-factory.conf; "
        "rm -f /etc/aina-factory/conf.d/janitor.json; systemctl disable --now factory-job-janitor.timer; "
        "sed -i 's/local/json-file/' /etc/docker/daemon.json; iptables -F DOCKER-USER; "
        "apt-get remove -qq -y earlyoom >/dev/null 2>&1; systemctl reset-failed"
    )


# --- Power loss --------------------------------------------------------------

MOMENTS = {
    "in-apt": ("apt-get purge -qq -y git earlyoom >/dev/null 2>&1", "pgrep -x dpkg", "host"),
    "in-an-unpack": (
        "apt-get purge -qq -y git git-man >/dev/null 2>&1",
        "find /usr/share/man /usr/lib/git-core /usr/bin -name '*.dpkg-new' 2>/dev/null | grep -q .",
        "host",
    ),
    "between-file-and-restart": (
        "rm /etc/systemd/journald.conf.d/60-aina-factory.conf",
        "test -e /etc/systemd/journald.conf.d/60-aina-factory.conf",
        "host",
    ),
}


@pytest.mark.parametrize("moment", draw("moments of a power loss", list(MOMENTS)))
def test_power_lost_at_the_worst_moment_is_made_up_for(rebuilt: Host, moment: str) -> None:
    before = rebuilt.fingerprint()
    prepare, condition, playbook = MOMENTS[moment]
    rebuilt.shell(prepare)

    rebuilt.lose_power_when(condition, f"playbooks/{playbook}.yml")

    # That another converge changes nothing is seen after the boot below.
    rebuilt.converge()
    assert support.stray_daemons(rebuilt) == []
    assert rebuilt.fingerprint() == before


# --- Reboot, drift -----------------------------------------------------------


def test_a_boot_brings_everything_back_and_makes_up_for_what_it_missed_once(rebuilt: Host) -> None:
    stamp = "/var/lib/systemd/timers/stamp-factory-job-janitor.timer"
    runs = "journalctl -u factory-job-{} --boot --output=cat --no-pager"
    before = rebuilt.fingerprint()
    # The host was off for two days: the janitor catches up, the marshal does not, the paused rests.
    rebuilt.shell(f"systemctl stop factory-job-janitor.timer; touch -d '2 days ago' {stamp}")

    support.sh("docker", "restart", "--time", "10", rebuilt.container)
    rebuilt.wait_until_booted()
    time.sleep(5)

    come_online(rebuilt)
    assert rebuilt.shell(runs.format("janitor")).count("Starting ") == 1
    assert rebuilt.shell(runs.format("coo-ops-loop")).count("Starting ") == 0
    assert support.stray_daemons(rebuilt) == []
    assert rebuilt.converge().what == set()
    assert rebuilt.fingerprint() == before


@pytest.mark.deep
def test_the_server_works_after_a_boot(rebuilt: Host) -> None:
    works(rebuilt)


@pytest.mark.deep
def test_a_drifted_server_is_foretold_and_repaired(rebuilt: Host) -> None:
    before = rebuilt.fingerprint()
    spoil(rebuilt)
    # Its first run makes a place for the status that old readers look for.
    rebuilt.shell("factory watchdog >/dev/null 2>&1; true")
    drifted = rebuilt.manifest()

    plan = rebuilt.play("--check")

    assert rebuilt.manifest() == drifted
    done = rebuilt.converge()
    assert plan.what == done.what
    assert done.what
    assert rebuilt.fingerprint() == before
    assert support.stray_daemons(rebuilt) == []


# --- The way back ------------------------------------------------------------

# After everything is taken back and its packages are purged: data, and what purging leaves.
STAYS = re.compile(
    r"[fl] \S+ \S+ /(var/lib/aina-factory/(?!draining|paused)|home/ali/|srv/aina/ops/WATCHDOG-STATUS\.json)"
    r"|\S+ +(\S+ \S+ )?/etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|docker/key.json|ld.so.cache)"
    r"|group (docker|_ssh):"
    # What Debian itself keeps of each day's packages.
    r"|f \S+ \S+ /var/backups/(dpkg|apt|alternatives)\."
    # A container that starts again may have another address.
    r"|\S+ +/etc/hosts"
    # By which Debian 12's client of the engine is told from others.
    r"|f \S+ \S+ /root/\.docker/\.buildNodeID"
)


def give_up(host: Host, prefix: str, blank: set[str]) -> None:
    """Take everything back, and look for what is left here and at GitHub."""
    done = host.play(playbook="playbooks/uninstall.yml")

    assert done.returncode == 0, done.output
    assert done.recap["kept"] == []
    runners = support.ask_github("GET", f"/repository?repository={support.REPOSITORY}")["runners"]
    assert [runner for runner in runners if runner.startswith(f"{prefix}-")] == []
    assert host.shell("systemctl list-units --failed --no-legend --plain") == ""
    support.purge(host, blank)
    after = support.belongings(host)
    assert {line for line in after ^ blank if not STAYS.match(line)} == set()


def test_what_is_given_up_leaves_the_host_as_it_was(
    rebuilt: Host, blank: dict[str, set[str]]
) -> None:
    give_up(rebuilt, "vds", blank[REBUILT])


# --- Another release ----------------------------------------------------------


@pytest.fixture(scope="module")
def old_release(hosts: dict[str, Host], blank: dict[str, set[str]]) -> Host:
    return hosts[OLD_RELEASE]


def test_the_release_before_is_converged_by_the_same_inventory(
    old_release: Host, blank: dict[str, set[str]]
) -> None:
    plan = old_release.play("--check")

    assert plan.returncode == 0, plan.output
    assert support.belongings(old_release) == blank[OLD_RELEASE]
    # Which packages can be had is known once apt has its lists.
    done = bring_the_engine(old_release)
    support.foundation("load", old_release)
    done |= old_release.converge().what
    assert {item for item in plan.what ^ done if not item.startswith("install ")} == set()
    assert old_release.converge().what == set()
    assert support.stray_daemons(old_release) == []
    works(old_release, "old")


@pytest.mark.deep
def test_a_server_of_ssh_that_a_socket_starts_is_left_to_the_socket(old_release: Host) -> None:
    """As Ubuntu sets it up."""
    drop_in = "/etc/ssh/sshd_config.d/10-aina-factory.conf"
    settings = old_release.shell(f"cat {drop_in}")
    old_release.shell(
        "systemctl disable --now ssh.service 2>&1; systemctl enable --now ssh.socket 2>&1; "
        f"rm {drop_in}"
    )

    done = old_release.play("--tags", "host_baseline")

    assert done.returncode == 0, done.output
    assert old_release.shell(f"cat {drop_in}") == settings
    states = old_release.shell("systemctl is-active ssh.service ssh.socket; true").split()
    assert states == ["inactive", "active"]
    greeting = "timeout 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/22 && head -c 7 <&3'"
    assert old_release.shell(greeting) == "SSH-2.0"
    assert old_release.play("--tags", "host_baseline").what == set()


@pytest.mark.deep
def test_a_drained_server_is_given_up_like_any_other(
    old_release: Host, blank: dict[str, set[str]]
) -> None:
    drained = old_release.play(playbook="playbooks/drain.yml")

    assert drained.returncode == 0, drained.output
    give_up(old_release, "old", blank[OLD_RELEASE])
