"""A token for one target: from a file, as a GitHub App, or from the ``gh`` client.

Tokens stay in memory; none is ever an argument of a program or part of a message.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from .. import times
from ..configuration import ConfigurationError
from ..ports import Fetch, Now, Request, Run
from .settings import Login
from .transport import web_url

# An installation token lives an hour; a fresh one is fetched while it still works.
_RENEW_BEFORE_SECONDS = 300.0


def token_source(
    login: Login,
    api_url: str,
    target: str,
    permissions: Mapping[str, str],
    *,
    run: Run,
    fetch: Fetch,
    now: Now,
    wished: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[], str]:
    """Return what yields a valid token whenever it is called.

    ``target`` is a repository's owner/name or an organization; an App's token is narrowed
    to it and to ``permissions``, and has of the ``wished`` ones what the App was given.

    Raises:
        ConfigurationError: there is no token to be had; says where it was looked for.

    """
    if login.method == "token_file":
        path, name = Path(login.token_file), f"{login.path}.token_file"
        secret_from_file(path, name)
        # Read anew each time: a supervisor that runs for weeks notices another token.
        return lambda: secret_from_file(path, name)
    if login.method == "gh":
        token = _from_gh(login, run, api_url)
        return lambda: token
    app = _App(login, api_url, target, permissions, run, fetch, now, wished)
    return app.token


def installation(
    login: Login, api_url: str, target: str, *, run: Run, fetch: Fetch, now: Now
) -> Mapping[str, object]:
    """Return what GitHub says of an App's installation on a repository or organization.

    Raises:
        OSError: GitHub does not answer, or knows of none.
        ConfigurationError: the key cannot sign.

    """
    return _App(login, api_url, target, {}, run, fetch, now).installation()


def secret_from_file(path: Path, name: str) -> str:
    """Return the one secret that a private file holds; ``name`` is the setting that names it.

    Raises:
        ConfigurationError: it cannot be read, is empty, or is open to others.

    """
    try:
        mode, token = path.stat().st_mode, path.read_text().strip()
    except PermissionError as error:
        raise ConfigurationError(
            f"{name} {path}: {error.strerror}; give the account that runs this a login of its own "
            "(host_baseline_secrets with an owner)"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{name} {path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigurationError(f"{name} {path} is open to others; chmod 0600 it")
    if not token:
        raise ConfigurationError(f"{name} {path} is empty")
    return token


def _from_gh(login: Login, run: Run, api_url: str) -> str:
    host = urlsplit(web_url(api_url)).netloc.rpartition("@")[2]
    try:
        done = run(["gh", "auth", "token", "--hostname", host], timeout_seconds=30)
    except OSError as error:
        raise ConfigurationError(
            f"gh cannot be started: {error}; install it or set {login.path}"
        ) from None
    token = done.stdout.decode().strip()
    if not done.ok or not token:
        raise ConfigurationError(
            f"gh has no token for {host}; run gh auth login, or set {login.path}"
        )
    return token


class _App:
    """A GitHub App's installation token, narrowed to one target."""

    def __init__(
        self,
        login: Login,
        api_url: str,
        target: str,
        permissions: Mapping[str, str],
        run: Run,
        fetch: Fetch,
        now: Now,
        wished: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._login, self._api_url, self._target = login, api_url, target
        self._permissions, self._wished = dict(permissions), dict(wished)
        self._run, self._fetch, self._now = run, fetch, now
        self._token, self._expires_at = "", 0.0

    def token(self) -> str:
        """Return the token, a fresh one when it is about to expire."""
        if self._now() > self._expires_at - _RENEW_BEFORE_SECONDS:
            self._renew()
        return self._token

    def installation(self, jwt: str = "") -> dict[str, object]:
        """Return the App's installation on the target."""
        kind = "repos" if "/" in self._target else "orgs"
        return self._ask("GET", f"/{kind}/{self._target}/installation", jwt or self._jwt(), None)

    def _renew(self) -> None:
        jwt = self._jwt()
        found = self.installation(jwt)
        name = self._target.partition("/")[2]
        held = found.get("permissions")
        known = held if isinstance(held, dict) else {}
        more = {name: level for name, level in self._wished.items() if known.get(name) == level}
        body: dict[str, object] = {"permissions": {**more, **self._permissions}}
        if name:
            body["repositories"] = [name]
        path = f"/app/installations/{found.get('id')}/access_tokens"
        answer = self._ask("POST", path, jwt, body)
        try:
            expires_at = times.seconds(str(answer["expires_at"]))
            self._token, self._expires_at = str(answer["token"]), expires_at
        except (KeyError, ValueError) as error:
            raise ConnectionError(f"GitHub App: unexpected answer: {error!r}") from None

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
            words = str(answer.get("message", ""))[:300] if isinstance(answer, dict) else ""
            if response.status == 404 and path.endswith("/installation"):
                words = f"the App is not installed on {self._target}; install it there"
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
        argv = ["openssl", "dgst", "-sha256", "-sign", key, "-binary"]
        done = self._run(argv, stdin=signed, timeout_seconds=30)
        if not done.ok:
            where = f"{self._login.path}.app_key_file {key}"
            raise ConfigurationError(f"{where} cannot sign: {done.said[-200:]}")
        return (signed + b"." + _base64(done.stdout)).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
