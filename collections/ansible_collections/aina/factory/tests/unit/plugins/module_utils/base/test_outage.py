from __future__ import annotations

import pytest

from factory.core.base import outage

# As programs have said it to people who reported it in public.
AWAY = {
    # docker/for-mac#2152
    "Error response from daemon: Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io on "
    "192.168.65.1:53: read udp 192.168.65.2:45941->192.168.65.1:53: i/o timeout": "registry-1.docker.io",
    # docker/hub-feedback#1195
    "docker: Error response from daemon: Get https://registry-1.docker.io/v2/library/ubuntu/manifests/latest: "
    "net/http: TLS handshake timeout.": "registry-1.docker.io",
    # freedomofdevelopers/fod#687
    'Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: request canceled while waiting for '
    "connection (Client.Timeout exceeded while awaiting headers)": "registry-1.docker.io",
    # moltis-org/moltis#896
    "#5 321.3 W: Failed to fetch http://ports.ubuntu.com/ubuntu-ports/dists/questing/InRelease  Temporary failure "
    "resolving 'ports.ubuntu.com'": "ports.ubuntu.com",
    # wagtail/docker-wagtail-develop#21
    "npm ERR! code EAI_AGAIN npm ERR! errno EAI_AGAIN npm ERR! request to https://npm.example.org/npm failed, "
    "reason: getaddrinfo EAI_AGAIN npm.example.org:443": "npm.example.org",
    # actions/checkout#1917
    "Error: Name or service not known (internal-api.service.iad.github.net:443)": outage.ELSEWHERE,
    # actions/runner#2210
    "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution": outage.ELSEWHERE,
    "GET https://api.github.com/repos/a/b: no answer: <urlopen error [Errno 111] Connection refused>": "api.github.com",
    "GET https://api.github.com/repos/a/b: 503 Unicorn!": "api.github.com",
    "https://objects.githubusercontent.com/x answered 502": "objects.githubusercontent.com",
    "toomanyrequests: You have reached your pull rate limit": outage.ELSEWHERE,
}
# What no waiting cures, and what is wrong on the host itself.
FAILURES = [
    "pull access denied for aina/none, repository does not exist or may require 'docker login'",
    "manifest for ubuntu:99.99 not found: manifest unknown",
    "GET https://api.github.com/repos/a/b: 404 Not Found",
    "GET https://api.github.com/repos/a/b: 401 Bad credentials",
    "E: Unable to locate package nosuchthing",
    "its smoke test failed: expected 503 got 504 files",
    "x509: certificate signed by unknown authority",
    "no space left on device",
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
    "dial unix /var/run/docker.sock: connect: connection refused",
    "connect to 127.0.0.1 port 3000: Connection refused",
    "docker build was not done within 1800 s",
]


@pytest.mark.parametrize("words", AWAY)
def test_who_did_not_answer_is_read_off_the_words_of_others(words: str) -> None:
    item = outage.waiting("image ci", words)

    assert (item["what"], item["for"]) == ("image ci", f"an answer of {AWAY[words]}")
    assert item["remedy"].startswith("converge again")


@pytest.mark.parametrize("words", FAILURES)
def test_any_other_failure_is_one(words: str) -> None:
    assert outage.waiting("image ci", words) == {}
