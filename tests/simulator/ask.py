"""Send one command to a control port: ``python3 -m simulator.ask URL METHOD PATH``.

A body is read from standard input. Where the simulator runs in a container, this is how
the outside reaches the control port, which listens on loopback alone.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any


class ControlError(Exception):
    """The command was refused; the text is the simulator's."""


def ask(url: str, method: str, path: str, body: Any = None) -> Any:
    """Return the answer to a command.

    Raises:
        ControlError: the simulator refuses it.
        OSError: nobody answers there.

    """
    request = urllib.request.Request(  # noqa: S310 - the simulator's own address
        url + path, method=method, data=None if body is None else json.dumps(body).encode()
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            raise ControlError(json.loads(error.read())["message"]) from error


def main() -> int:
    url, method, path = sys.argv[1:]
    text = "" if method == "GET" else sys.stdin.read()
    try:
        print(json.dumps(ask(url, method, path, json.loads(text) if text.strip() else None)))
    except (ControlError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
