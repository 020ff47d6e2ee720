"""The simulator as a whole: two listening sockets over one world."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from simulator import build, control, downloads, githttp, runner_service, scenario, tls
from simulator.dispatch import Dispatcher
from simulator.faults import Fault
from simulator.graphql.execution import schema
from simulator.http import Answer, Incoming
from simulator.limits import Limits
from simulator.model import Json, Token
from simulator.transport import Server
from simulator.world import World

REST_PREFIX = "/api/v3"
# Where files of releases are sent to; the paths are those of the REST interface.
UPLOADS_PREFIX = "/api/uploads"
GRAPHQL_PATHS = {"/api/graphql", "/graphql"}


class Simulator:
    """A GitHub of one's own. Use it as a context manager, or ``start`` and ``stop`` it.

    ``document`` is a checked scenario; ``advertise`` is the name under which clients
    reach the address that it listens on. ``directory`` keeps certificates and token from
    one start to the next; without it they go when it stops.
    """

    world: World
    dispatcher: Dispatcher
    token: Token

    def __init__(
        self,
        document: dict[str, Any] | str = "empty",
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        control_listen: tuple[str, int] = ("127.0.0.1", 0),
        advertise: str | None = None,
        directory: Path | None = None,
    ) -> None:
        """Take a scenario by name, path or content and open the sockets."""
        given = scenario.load(document) if isinstance(document, str) else document
        self._kept = directory is not None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="github-simulator-"))
        for left_over in self.directory.glob("state-*"):
            shutil.rmtree(left_over)
        self._threads: list[threading.Thread] = []
        names = [listen[0], "127.0.0.1", "::1", "localhost"]
        names += [advertise] if advertise else []
        self.ca_file, context = tls.make(self.directory, names)
        self._https = Server(listen, self._answer, context)
        self._control = Server(control_listen, lambda request: control.answer(self, request), None)
        name = advertise or listen[0]
        self.host = _authority(name, self._https.server_address[1])
        self.control_url = "http://" + _authority(
            control_listen[0], self._control.server_address[1]
        )
        self.token_file = self.directory / "token"
        # The first query must not be slower than those after it.
        schema()
        self.load(given)

    def load(self, document: dict[str, Any]) -> None:
        """Begin again with a checked scenario; addresses and certificates stay."""
        seed = document.get("seed", 1)
        state = Path(tempfile.mkdtemp(prefix="state-", dir=self.directory))
        world = World(state, seed, build.clock_of(document))
        world.web_url = f"https://{self.host}"
        owner = world.account(world.default_owner)
        self.token = world.add_token(owner)
        limits = dict(document.get("limits", {}))
        enforce = limits.pop("secondary", "count") == "enforce"
        build.fill(world, document)
        for repository in world.repositories.values():
            repository.collaborators.setdefault(owner.login, "admin")
        if hasattr(self, "world"):
            shutil.rmtree(self.world.directory, ignore_errors=True)
        self.world = world
        self.dispatcher = Dispatcher(world, Limits(enforce, limits))
        for given in document.get("faults", []):
            self.add_fault(given)
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.token.value + "\n")

    def add_fault(self, given: Json) -> None:
        """Add a fault, written as in a scenario."""
        number = len(self.dispatcher.faults) + 1
        self.dispatcher.faults.append(Fault(**{"name": f"fault-{number}", **given}))

    def start(self) -> Simulator:
        for server in (self._https, self._control):
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def stop(self) -> None:
        """Close the sockets and remove what nobody wants to keep."""
        for server in (self._https, self._control):
            if self._threads:
                server.shutdown()
            server.server_close()
        shutil.rmtree(self.world.directory if self._kept else self.directory, ignore_errors=True)

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def addresses(self) -> Json:
        """Return where everything is; the command prints this as one line."""
        return {
            "api_url": f"https://{self.host}{REST_PREFIX}",
            "graphql_url": f"https://{self.host}/api/graphql",
            "git_url": f"https://{self.host}",
            "host": self.host,
            "ca_file": str(self.ca_file),
            "token_file": str(self.token_file),
            "control_url": self.control_url,
            "apps": [
                {
                    "id": app.id,
                    "client_id": app.client_id,
                    "slug": app.slug,
                    "private_key_file": app.private_key_file,
                }
                for app in self.world.apps.values()
            ],
        }

    def _answer(self, request: Incoming) -> Answer:
        if githttp.matches(request.path):
            return githttp.serve(self.world, request)
        if request.path.startswith(runner_service.PREFIX):
            return runner_service.serve(self.world, request)
        if downloads.matches(request.path):
            return downloads.serve(self.world, request)
        if request.path in GRAPHQL_PATHS:
            return self.dispatcher.graphql(request)
        path = request.path.removeprefix(REST_PREFIX).removeprefix(UPLOADS_PREFIX)
        request.path = path.rstrip("/") or "/"
        return self.dispatcher.rest(request)


def _authority(host: str, port: int) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port == 443 else f"{host}:{port}"
