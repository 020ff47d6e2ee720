"""The ``Fetch`` port for addresses of both schemes; a plain one loads nothing that it needs not."""

from __future__ import annotations

from urllib.parse import urlsplit

from factory import effects
from factory.core.base.ports import Fetch, Request, Response


def trusting(ca_file: str) -> Fetch:
    """Return a ``Fetch`` that trusts these certificates beside the system's; none for ""."""

    def fetch_trusting(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        if not ca_file or not request.url.startswith("https:"):
            return fetch(request, timeout_seconds=timeout_seconds)
        return effects.https_fetch(ca_file)(request, timeout_seconds=timeout_seconds)

    return fetch_trusting


def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
    """Send one request; redirects are answers, so that a token stays home.

    Raises:
        OSError: no answer arrived; the message names the host and never the whole address.

    """
    address = urlsplit(request.url)
    if address.scheme == "https":
        return effects.https_fetch()(request, timeout_seconds=timeout_seconds)
    if address.scheme != "http" or not address.hostname:
        raise OSError(f"the address of {address.hostname or 'no host'} is neither http nor https")
    import http.client

    connection = http.client.HTTPConnection(address.netloc, timeout=timeout_seconds)
    target = f"{address.path or '/'}?{address.query}" if address.query else address.path or "/"
    try:
        connection.request(request.method, target, request.body, dict(request.headers))
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, headers, answer.read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"{address.hostname}: {type(error).__name__}") from None
    except OSError as error:
        raise OSError(f"{address.hostname}: {error.strerror or error}") from error
    finally:
        connection.close()
