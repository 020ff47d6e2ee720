"""The ``Fetch`` port over HTTPS; redirects are not followed, so that a token stays home."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from email.message import Message

from ansible_collections.aina.factory.plugins.module_utils.ports import Fetch, Request, Response


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        """Hand the redirect to the caller."""


def fetcher(ca_file: str = "") -> Fetch:
    """Return the port; ``ca_file`` replaces the system's certificate authorities."""
    context = ssl.create_default_context(cafile=ca_file or None)
    opener = urllib.request.build_opener(
        _NoRedirect(), urllib.request.HTTPSHandler(context=context)
    )

    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        if not request.url.startswith(("https://", "http://")):
            raise OSError(f"{request.url!r} is no http(s) URL")
        prepared = urllib.request.Request(  # noqa: S310  (the scheme was checked)
            request.url, request.body, dict(request.headers), method=request.method
        )
        try:
            with opener.open(prepared, timeout=timeout_seconds) as answer:
                return _response(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return _response(error.code, error.headers, error.read())
        except http.client.HTTPException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error

    return fetch


def _response(status: int, headers: Message, body: bytes) -> Response:
    return Response(status, {name.lower(): value for name, value in headers.items()}, body)
