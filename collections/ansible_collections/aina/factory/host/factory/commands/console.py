"""``factory console``: the status in a browser; says how to open it, or serves it."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

from factory import configuration
from factory.core.watchdog import policy as policies
from factory.core.watchdog.settings import WatchdogSettings
from factory.outcome import Exit, Outcome, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory console``."""
    parser.add_argument(
        "--serve",
        action="store_true",
        help="serve it on the sockets that systemd hands over, or on its own address",
    )
    parser.add_argument(
        "--make-token", action="store_true", help="only make the token, where there is none"
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Say how to open the console, or serve it.

    Raises:
        UsageError: there is none here, or its token cannot be read.

    """
    from factory import console

    whole = configuration.load(Path(arguments.config))
    policy, _errors = policies.tolerant(whole.section("watchdog", {}))
    if not policy.console.listen:
        raise UsageError("this server has no console (listen of watchdog_console is empty)")
    try:
        token = console.token_of(policy, make=os.geteuid() == 0)
    except OSError as error:
        raise UsageError(f"the console's token: {error.strerror or error}; use sudo") from error
    if arguments.make_token:
        return Outcome(Exit.DONE, {}, "the token is there")
    if not arguments.serve:
        return _told(policy, token)
    served = console.Console(policy, console.lanes_dir(whole), token)
    sockets = console.inherited()
    if sockets:
        console.serve(served, sockets, policy.console.idle_seconds)
    else:
        with console.listening(policy.console.listen[0]) as own:
            console.serve(served, [own], policy.console.idle_seconds)
    return Outcome(Exit.DONE, {}, "nobody came for a while")


def _told(policy: WatchdogSettings, token: str) -> Outcome:
    address = policy.console.listen[0]
    port = address.rpartition(":")[2]
    tunnel = f"ssh -L {port}:{address} {socket.getfqdn()}"
    url = f"http://127.0.0.1:{port}/?token={token}"
    text = f"from your own machine: {tunnel}\nthen open: {url}"
    return Outcome(Exit.DONE, {"tunnel": tunnel, "url": url}, text)
