"""One request from its arrival to its answer: faults, identity, limits, work, headers, log."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field

from simulator import auth, checks, faults, merge_queue, pulls, rest, versions
from simulator.clock import iso
from simulator.exchanges import Recorder
from simulator.faults import Disconnected, Fault
from simulator.gitstore import GitError
from simulator.graphql import Query, execute, parse_query
from simulator.http import Answer, HttpError, Incoming
from simulator.limits import Limits
from simulator.model import Json, Repository, Token
from simulator.rest.router import Call, Route
from simulator.world import World

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
CONTENT_MUTATIONS = {"mergePullRequest", "addComment", "createPullRequest", "createIssue"}
CONTENT_MUTATIONS |= {"addPullRequestReview", "mergeBranch"}


def _require_user_agent(request: Incoming) -> None:
    if not request.headers.get("user-agent"):
        raise HttpError(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a"
            " User-Agent header.",
        )


def settle(world: World, repository: Repository) -> None:
    """Let happen whatever time has brought about in a repository."""
    checks.settle(world, repository)
    pulls.settle(world, repository)
    merge_queue.settle(world, repository)


@dataclass
class Dispatcher:
    """Everything that answers API requests."""

    world: World
    limits: Limits = field(default_factory=Limits)
    faults: list[Fault] = field(default_factory=list)
    log: list[Json] = field(default_factory=list)
    recorder: Recorder = field(default_factory=Recorder)

    def rest(self, request: Incoming) -> Answer:
        """Answer a REST request.

        Raises:
            Disconnected: a fault wants the connection cut.

        """
        entry = self._entry(request, "rest")
        with self.world.lock:
            due = faults.due(self.faults, request, [], self.world.random.random())
        answer = self._early(due, entry, graphql=False)
        if answer is None:
            with self.world.lock:
                answer = self._rest(request, entry)
            if not due:
                version = answer.headers.get("X-GitHub-Api-Version-Selected", versions.OLDEST)
                self.recorder.note(request, entry.get("route", ""), version, answer)
            answer = self._late(due, entry, answer, graphql=False)
        return self._finish(entry, answer)

    def graphql(self, request: Incoming) -> Answer:
        """Answer a GraphQL request.

        Raises:
            Disconnected: a fault wants the connection cut.

        """
        entry = self._entry(request, "graphql")
        try:
            query = parse_query(request.json())
        except HttpError as error:
            return self._finish(entry, error.answer())
        entry["operation"] = query.root_fields
        entry["write"] = query.mutation
        with self.world.lock:
            draw = self.world.random.random()
            due = faults.due(self.faults, request, query.root_fields, draw)
        answer = self._early(due, entry, graphql=True)
        if answer is None:
            with self.world.lock:
                answer = self._graphql(request, query, entry)
            answer = self._late(due, entry, answer, graphql=True)
        return self._finish(entry, answer)

    # --- faults -------------------------------------------------------------

    def _early(self, due: list[Fault], entry: Json, *, graphql: bool) -> Answer | None:
        for fault in due:
            entry["faults"].append(fault.name)
            if fault.latency_seconds:
                time.sleep(fault.latency_seconds)
            if fault.when == "before":
                if fault.disconnect:
                    raise Disconnected
                found = faults.replacement(fault, graphql=graphql, now=self.world.now())
                if found is not None:
                    return found
        return None

    def _late(self, due: list[Fault], entry: Json, answer: Answer, *, graphql: bool) -> Answer:
        entry["done"] = answer.status < 400
        for fault in due:
            if fault.partial and isinstance(answer.body, dict):
                answer.body = faults.make_partial(answer.body, fault.partial)
            if fault.when == "after":
                if fault.disconnect:
                    raise Disconnected
                found = faults.replacement(fault, graphql=graphql, now=self.world.now())
                if found is not None:
                    return found
        return answer

    # --- REST ---------------------------------------------------------------

    def _rest(self, request: Incoming, entry: Json) -> Answer:
        caller, resource, version = "anonymous", "core", versions.OLDEST
        told: dict[str, str] = {}
        try:
            _require_user_agent(request)
            version = versions.of(request)
            found = rest.find(request.method, request.path)
            if found is None:
                raise HttpError(404, "Not Found")
            route, params = found
            entry["route"], resource = route.template, route.resource
            token = self._identify(request, route)
            caller = token.bucket if token else "anonymous"
            entry["caller"] = caller
            told = auth.told(token, route.permission)
            self._debit(caller, route, request, entry)
            answer = self._handle(request, route, params, token, caller)
        except HttpError as error:
            answer = error.answer()
        except pulls.RefusedError as error:
            answer = HttpError(error.status, error.message).answer()
        except GitError as error:
            answer = HttpError(422, str(error)).answer()
        answer = versions.shaped(answer, version)
        answer = self._conditional(request, answer, caller, resource, entry)
        answer.headers.update(self.limits.headers(caller, resource, self.world.now()))
        answer.headers.update(told)
        return answer

    def _identify(self, request: Incoming, route: Route) -> Token | None:
        if route.authentication == "app":
            return None
        return auth.identify(self.world, request)

    def _debit(self, caller: str, route: Route, request: Incoming, entry: Json) -> None:
        now, resource = self.world.now(), route.resource
        if route.authentication == "free":
            return
        if self.limits.exhausted(caller, resource, now):
            headers = self.limits.headers(caller, resource, now)
            message = f"API rate limit exceeded for {caller.replace(':', ' ')}."
            raise HttpError(403, message, headers=headers)
        write = request.method in WRITES
        entry["points"], entry["write"] = 1, write
        self.limits.spend(caller, resource, 1, now)
        wait = self.limits.secondary(caller, resource, write=write, content=route.content, now=now)
        if wait is not None:
            raise HttpError(
                403,
                "You have exceeded a secondary rate limit. Please wait a few minutes before you"
                " try again.",
                headers={"Retry-After": str(wait)},
            )

    def _handle(
        self,
        request: Incoming,
        route: Route,
        params: dict[str, str],
        token: Token | None,
        caller: str,
    ) -> Answer:
        body = request.json() if request.method in WRITES and not route.raw else {}
        extra = {"limits": self.limits, "caller": caller}
        call = Call(self.world, request, params, token, body, extra=extra)
        if "repo" in params and route.authentication == "token":
            self._settle(call)
            if route.permission:
                auth.require(call.repository, token, *route.permission)
        elif token is None and route.authentication == "token":
            raise HttpError(401, "Requires authentication")
        answer = rest.router.answer(route.handler(call), route.status)
        if call.links:
            answer.headers["Link"] = call.links
        return answer

    def _settle(self, call: Call) -> None:
        settle(self.world, call.repository)

    def _conditional(
        self, request: Incoming, answer: Answer, caller: str, resource: str, entry: Json
    ) -> Answer:
        """Give every read an ETag; what has not changed costs nothing."""
        if request.method != "GET" or answer.status != 200 or isinstance(answer.body, bytes):
            return answer
        text = json.dumps(answer.body, sort_keys=True).encode()
        tag = f'W/"{hashlib.sha256(text).hexdigest()}"'
        answer.headers["ETag"] = tag
        wanted = request.headers.get("if-none-match", "")
        if tag.removeprefix("W/") not in wanted:
            return answer
        if caller != "anonymous" and entry["points"]:
            self.limits.spend(caller, resource, -1, self.world.now())
            entry["points"] = 0
        return Answer(304, None, answer.headers)

    # --- GraphQL ------------------------------------------------------------

    def _graphql(self, request: Incoming, query: Query, entry: Json) -> Answer:
        try:
            _require_user_agent(request)
            token = auth.identify(self.world, request)
        except HttpError as error:
            return error.answer()
        if token is None:
            message = "This endpoint requires you to be authenticated."
            return HttpError(401, message).answer()
        caller, now = token.bucket, self.world.now()
        entry["caller"] = caller
        if self.limits.exhausted(caller, "graphql", now):
            limited = {"type": "RATE_LIMITED", "message": f"API rate limit exceeded for {caller}."}
            headers = self.limits.headers(caller, "graphql", now)
            return Answer(200, {"errors": [limited]}, headers)
        entry["points"], entry["nodes"] = query.cost.points, query.cost.nodes
        self.limits.spend(caller, "graphql", query.cost.points, now)
        content = bool(CONTENT_MUTATIONS & set(query.root_fields))
        wait = self.limits.secondary(
            caller, "graphql", write=query.mutation, content=content, now=now
        )
        if wait is not None:
            message = "You have exceeded a secondary rate limit. Please wait a few minutes"
            body = {"message": f"{message} before you try again."}
            return Answer(403, body, {"Retry-After": str(wait)})
        for repository in self.world.repositories.values():
            settle(self.world, repository)
        body = execute(self.world, token, query, self._rate_limit(caller, query))
        return Answer(200, body, self.limits.headers(caller, "graphql", now))

    def _rate_limit(self, caller: str, query: Query) -> Json:
        bucket = self.limits.bucket(caller, "graphql", self.world.now())
        return {
            "cost": query.cost.points,
            "limit": bucket.limit,
            "remaining": bucket.remaining,
            "used": bucket.used,
            "resetAt": iso(bucket.reset_at),
            "nodeCount": query.cost.nodes,
        }

    # --- log ----------------------------------------------------------------

    def _entry(self, request: Incoming, kind: str) -> Json:
        entry: Json = {
            "number": 0,
            "time": iso(self.world.now()),
            "kind": kind,
            "method": request.method,
            "path": request.path,
            "caller": "anonymous",
            "points": 0,
            "write": request.method in WRITES,
            "faults": [],
            "status": None,
        }
        with self.world.lock:
            entry["number"] = len(self.log) + 1
            self.log.append(entry)
        return entry

    def _finish(self, entry: Json, answer: Answer) -> Answer:
        entry["status"] = answer.status
        answer.headers.setdefault("X-GitHub-Request-Id", f"SIM:{entry['number']:06d}")
        answer.headers.setdefault("X-GitHub-Media-Type", "github.v3; format=json")
        return answer

    def counts(self) -> Json:
        log = list(self.log)
        return {
            "requests": len(log),
            "points": sum(entry["points"] for entry in log),
            "rest_requests": sum(entry["kind"] == "rest" for entry in log),
            "rest_points": sum(e["points"] for e in log if e["kind"] == "rest"),
            "graphql_requests": sum(entry["kind"] == "graphql" for entry in log),
            "graphql_points": sum(e["points"] for e in log if e["kind"] == "graphql"),
            "writes": sum(bool(entry["write"]) for entry in log),
            "secondary_violations": self.limits.secondary_violations,
        }
