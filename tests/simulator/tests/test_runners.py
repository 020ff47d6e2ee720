"""Runners register, take jobs and go; REST shows each step."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from simulator import Simulator
from simulator.client import Client

pytestmark = pytest.mark.deep

R = "/repos/factory/demo"
RUNNERS = f"{R}/actions/runners"
SERVICE = "/_services/runner"


def queue(client: Client, *labels: str) -> Any:
    body = {"repository": "factory/demo", "labels": list(labels), "steps": [{"run": "true"}]}
    return client.control("POST", "/job", body)["id"]


def register(client: Client, simulator: Simulator, name: str = "r", **more: Any) -> Any:
    token = client.rest("POST", f"{RUNNERS}/registration-token").body["token"]
    url = f"{simulator.world.web_url}/factory/demo"
    return client.post(f"{SERVICE}/register", {"url": url, "token": token, "name": name, **more})


def test_a_runner_takes_the_oldest_job_that_fits_and_reports_it(
    client: Client, simulator: Simulator
) -> None:
    queue(client, "self-hosted", "gpu")
    job = queue(client, "self-hosted", "linux")
    made = register(client, simulator, labels=["demo"]).body
    who = {"id": made["id"], "secret": made["secret"]}
    client.post(f"{SERVICE}/session", who)

    taken = client.post(f"{SERVICE}/job", who).body["job"]

    assert taken["id"] == job
    shown = client.rest("GET", f"{RUNNERS}/{made['id']}").body
    assert (shown["status"], shown["busy"]) == ("online", True)
    assert client.rest("DELETE", f"{RUNNERS}/{made['id']}").status == 422
    client.post(f"{SERVICE}/result", {**who, "job_id": job, "conclusion": "failure", "log": "no"})
    run = client.rest("GET", f"{R}/actions/jobs/{job}").body
    assert (run["status"], run["conclusion"]) == ("completed", "failure")
    assert client.rest("GET", f"{R}/actions/jobs/{job}/logs").body == b"no"
    assert client.rest("DELETE", f"{RUNNERS}/{made['id']}").status == 204
    assert client.rest("DELETE", f"{RUNNERS}/{made['id']}").status == 404


def test_a_just_in_time_runner_is_gone_after_its_job(client: Client) -> None:
    body = {"name": "jit", "runner_group_id": 1, "labels": ["self-hosted", "demo"]}
    made = client.rest("POST", f"{RUNNERS}/generate-jitconfig", body).body
    files = json.loads(base64.b64decode(made["encoded_jit_config"]))
    settings = json.loads(base64.b64decode(files[".runner"]))
    secret = json.loads(base64.b64decode(files[".credentials_rsaparams"]))["secret"]
    job = queue(client, "demo")
    who = {"id": settings["AgentId"], "secret": secret}

    assert client.post(f"{SERVICE}/job", who).body["job"]["id"] == job
    client.post(f"{SERVICE}/result", {**who, "job_id": job, "conclusion": "success"})

    assert settings["Ephemeral"] is True
    assert client.rest("GET", f"{RUNNERS}/{settings['AgentId']}").status == 404
    assert client.post(f"{SERVICE}/job", who).status == 401


def test_a_token_registers_only_in_its_hour_and_for_its_purpose(
    client: Client, simulator: Simulator
) -> None:
    wrong = client.rest("POST", f"{RUNNERS}/remove-token").body["token"]
    url = f"{simulator.world.web_url}/factory/demo"
    body = {"url": url, "token": wrong, "name": "r"}
    assert client.post(f"{SERVICE}/register", body).status == 404

    late = client.rest("POST", f"{RUNNERS}/registration-token").body["token"]
    client.control("POST", "/clock", {"seconds": 3601})
    assert client.post(f"{SERVICE}/register", {**body, "token": late}).status == 404


def test_labels_change_but_the_default_ones_stay(client: Client, simulator: Simulator) -> None:
    made = register(client, simulator, labels=["old"]).body

    shown = client.rest("PUT", f"{RUNNERS}/{made['id']}/labels", {"labels": ["new"]}).body

    kinds = {label["name"]: label["type"] for label in shown["labels"]}
    assert kinds == {
        "self-hosted": "read-only",
        "Linux": "read-only",
        "X64": "read-only",
        "new": "custom",
    }
    assert client.rest("DELETE", f"{RUNNERS}/{made['id']}/labels/Linux").status == 422


def test_a_runner_removed_at_the_server_is_told_so(client: Client, simulator: Simulator) -> None:
    made = register(client, simulator).body
    body = {"repository": "factory/demo", "name": "r"}

    assert client.control("POST", "/remove_runner", body) == {"removed": 1}

    who = {"id": made["id"], "secret": made["secret"]}
    assert client.post(f"{SERVICE}/job", who).status == 401


def test_a_silent_runner_goes_offline(client: Client, simulator: Simulator) -> None:
    made = register(client, simulator).body
    client.post(f"{SERVICE}/session", {"id": made["id"], "secret": made["secret"]})

    client.control("POST", "/clock", {"seconds": 61})

    assert client.rest("GET", f"{RUNNERS}/{made['id']}").body["status"] == "offline"


def test_a_release_has_its_digest_and_the_download_its_bytes(client: Client) -> None:
    asset = {"name": "actions-runner-linux-x64-2.330.0.tar.gz", "content": "bytes"}
    release = {"tag": "v2.330.0", "assets": [asset]}
    given = {"name": "actions/runner", "private": False, "releases": [release]}
    demo = {"name": "factory/demo"}
    client.control("POST", "/scenario", {"document": {"repositories": [given, demo]}})
    nobody = Client(client.simulator, token="")

    shown = nobody.rest("GET", "/repos/actions/runner/releases/latest").body["assets"][0]

    path = shown["browser_download_url"].removeprefix(client.simulator.world.web_url)
    content = nobody._send("GET", path, None).body
    assert shown["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()
    owner = Client(client.simulator)
    listed = owner.rest("GET", f"{RUNNERS}/downloads").body[0]
    assert listed["sha256_checksum"] in shown["digest"]
