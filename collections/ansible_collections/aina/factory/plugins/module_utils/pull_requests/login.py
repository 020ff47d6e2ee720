"""A token for one repository: from a file, as a GitHub App, or from the ``gh`` client.

Tokens stay in memory; none is ever an argument of a program or part of a message.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.aina.factory.plugins.module_utils.configuration import ConfigurationError
from ansible_collections.aina.factory.plugins.module_utils.ports import Fetch, Now, Request, Run
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.settings import Login

_PERMISSIONS = {
    "contents": "write",
    "pull_requests": "write",
    "issues": "write",
    "checks": "read",
    "statuses": "read",
    "metadata": "read",
}
# An installation token lives an hour; a fresh one is fetched while it still works.
_RENEW_BEFORE_SECONDS = 300.0


def token_source(
    login: Login, api_url: str, repository: str, *, run: Run, fetch: Fetch, now: Now
) -> Callable[[], str]:
    """Return what yields a valid token whenever it is called.

    Raises:
        ConfigurationError: there is no token to be had; says where it was looked for.

    """
    if login.method == "token_file":
        token = _from_file(Path(login.token_file))
        return lambda: token
    if login.method == "gh":
        token = _from_gh(run, api_url)
        return lambda: token
    app = _App(login, api_url, repository, run, fetch, now)
    return app.token


def _from_file(path: Path) -> str:
    try:
        mode, token = path.stat().st_mode, path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"marshal.login.token_file {path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigurationError(
            f"marshal.login.token_file {path} is open to others; chmod 0600 it"
        )
    if not token:
        raise ConfigurationError(f"marshal.login.token_file {path} is empty")
    return token


def _from_gh(run: Run, api_url: str) -> str:
    host = urlsplit(api_url).netloc.rpartition("@")[2]
    host = "github.com" if host == "api.github.com" else host
    try:
        done = run(["gh", "auth", "token", "--hostname", host], timeout_seconds=30)
    except OSError as error:
        raise ConfigurationError(
            f"gh cannot be started: {error}; install it or set marshal.login"
        ) from None
    token = done.stdout.decode().strip()
    if not done.ok or not token:
        raise ConfigurationError(
            f"gh has no token for {host}; run gh auth login, or set marshal.login"
        )
    return token


class _App:
    """A GitHub App's installation token, narrowed to one repository."""

    def __init__(
        self, login: Login, api_url: str, repository: str, run: Run, fetch: Fetch, now: Now
    ) -> None:
        self._login, self._api_url, self._repository = login, api_url, repository
        self._run, self._fetch, self._now = run, fetch, now
        self._token, self._expires_at = "", 0.0

    def token(self) -> str:
        """Return the token, a fresh one when it is about to expire."""
        if self._now() > self._expires_at - _RENEW_BEFORE_SECONDS:
            self._renew()
        return self._token

    def _renew(self) -> None:
        jwt = self._jwt()
        found = self._ask("GET", f"/repos/{self._repository}/installation", jwt, None)
        body = {
            "repositories": [self._repository.split("/")[1]],
            "permissions": _PERMISSIONS,
        }
        path = f"/app/installations/{found['id']}/access_tokens"
        answer = self._ask("POST", path, jwt, body)
        self._token = str(answer["token"])
        self._expires_at = datetime.fromisoformat(str(answer["expires_at"])).timestamp()

    def _ask(self, method: str, path: str, jwt: str, body: object) -> dict[str, object]:
        headers = {
            "Authorization": f"Bearer {jwt}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "User-Agent": "aina-factory",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        data = None if body is None else json.dumps(body).encode()
        response = self._fetch(Request(method, f"{self._api_url}{path}", headers, data))
        try:
            answer = json.loads(response.body)
        except ValueError:
            answer = {}
        if response.status not in (200, 201) or not isinstance(answer, dict):
            words = answer.get("message", "") if isinstance(answer, dict) else ""
            # An OSError is an unanswered request to the transport: nothing is assumed.
            raise ConnectionError(f"GitHub App: {method} {path}: {response.status} {words}")
        return answer

    def _jwt(self) -> str:
        issued = int(self._now()) - 60
        claims = {"iat": issued, "exp": issued + 600, "iss": str(self._login.app_id)}
        signed = b".".join(
            _base64(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims)
        )
        key = self._login.app_key_file
        done = self._run(
            ["openssl", "dgst", "-sha256", "-sign", key, "-binary"],
            stdin=signed,
            timeout_seconds=30,
        )
        if not done.ok:
            words = done.stderr.decode(errors="replace").strip()[-200:]
            raise ConfigurationError(f"marshal.login.app_key_file {key} cannot sign: {words}")
        return (signed + b"." + _base64(done.stdout)).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
