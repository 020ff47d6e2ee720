"""Run the simulator in the foreground; ``script/simulator`` calls this."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from simulator.published import PublishedError
from simulator.scenario import ScenarioError
from simulator.server import Simulator


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT")
    return host.strip("[]"), int(port)


def main() -> int:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--scenario", default="empty", metavar="NAME", help="a name or a file")
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="ADDRESS:PORT")
    parser.add_argument(
        "--control", type=_address, default=("127.0.0.1", 0), metavar="ADDRESS:PORT"
    )
    parser.add_argument("--advertise", metavar="NAME", help="the name by which clients reach it")
    parser.add_argument(
        "--directory", type=Path, help="an existing one that keeps certificates and token"
    )
    arguments = parser.parse_args()
    try:
        simulator = Simulator(
            arguments.scenario,
            listen=arguments.listen,
            control_listen=arguments.control,
            advertise=arguments.advertise,
            directory=arguments.directory,
        )
    except (OSError, PublishedError, ScenarioError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with simulator:
        print(json.dumps(simulator.addresses()), flush=True)
        done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
