"""Git's login at GitHub."""

from __future__ import annotations

import base64


def git_environment(git_url: str, ca_file: str, token: str) -> dict[str, str]:
    """Return what git needs to log in: by environment, never by argument or file."""
    pair = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    environment = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{git_url}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {pair}",
    }
    if ca_file:
        environment["GIT_SSL_CAINFO"] = ca_file
    return environment
