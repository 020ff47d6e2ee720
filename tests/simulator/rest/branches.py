"""Branches, refs, and the rules that guard them."""

from __future__ import annotations

from simulator import checks
from simulator.gitstore import GitError
from simulator.http import Answer, HttpError
from simulator.model import Json, Repository, Rule
from simulator.pulls import delete_branch, move_branch
from simulator.rest import shapes
from simulator.rest.router import DEFAULT_PAGE, LARGEST_PAGE, Call, route


def _bound(rules: list[Rule]) -> list[Json]:
    return [
        {"context": name, "app_id": checks.app_id(app) if app else None}
        for name in checks.required_names(rules)
        for app in checks.bound(rules, name)
    ]


def _protection(rules: list[Rule]) -> Json:
    names = checks.required_names(rules)
    return {
        "enabled": bool(rules),
        "required_status_checks": {
            "enforcement_level": "everyone" if names else "off",
            "contexts": names,
            "checks": _bound(rules),
        },
    }


def _short(call: Call, repository: Repository, name: str, oid: str) -> Json:
    url = f"{shapes.repository_url(call.world, repository)}/branches/{name}"
    rules = checks.rules_for(repository, name)
    classic = [rule for rule in rules if rule.kind == "protection"]
    return {
        "name": name,
        "commit": {
            "sha": oid,
            "url": f"{shapes.repository_url(call.world, repository)}/commits/{oid}",
        },
        "protected": bool(rules),
        "protection": _protection(classic),
        "protection_url": f"{url}/protection",
    }


@route("GET", "/repos/{owner}/{repo}/branches", "contents:read")
def branches(call: Call) -> list[Json]:
    repository = call.repository
    prefix = "refs/heads/"
    names = sorted(r.removeprefix(prefix) for r in repository.git.refs if r.startswith(prefix))
    wanted = call.query("protected")
    if wanted:
        names = [n for n in names if bool(checks.rules_for(repository, n)) == (wanted == "true")]
    return [_short(call, repository, n, repository.git.refs[prefix + n]) for n in call.page(names)]


def _branch(call: Call) -> tuple[str, str]:
    name = call.params["branch"]
    oid = call.repository.git.branch(name)
    if oid is None:
        raise HttpError(404, "Branch not found")
    return name, oid


@route("GET", "/repos/{owner}/{repo}/branches/{branch...}/protection", "administration:read")
def protection(call: Call) -> Json:
    """Show the classic protection of a branch."""
    name, _ = _branch(call)
    rules = [r for r in checks.rules_for(call.repository, name) if r.kind == "protection"]
    if not rules:
        raise HttpError(404, "Branch not protected")
    url = f"{shapes.repository_url(call.world, call.repository)}/branches/{name}/protection"
    names = checks.required_names(rules)
    shown: Json = {
        "url": url,
        "enforce_admins": {"url": f"{url}/enforce_admins", "enabled": rules[0].enforce_admins},
    }
    if names:
        shown["required_status_checks"] = {
            "url": f"{url}/required_status_checks",
            "strict": any(rule.strict for rule in rules),
            "contexts": names,
            "contexts_url": f"{url}/required_status_checks/contexts",
            "checks": _bound(rules),
        }
    approvals = max(rule.required_approvals for rule in rules)
    if approvals:
        shown["required_pull_request_reviews"] = {
            "url": f"{url}/required_pull_request_reviews",
            "dismiss_stale_reviews": False,
            "require_code_owner_reviews": False,
            "required_approving_review_count": approvals,
        }
    return shown


@route("GET", "/repos/{owner}/{repo}/branches/{branch...}", "contents:read")
def branch(call: Call) -> Json:
    name, oid = _branch(call)
    shown = _short(call, call.repository, name, oid)
    web = f"{call.world.web_url}/{call.repository.full_name}/tree/{name}"
    links = {"self": shown["protection_url"].removesuffix("/protection"), "html": web}
    return {**shown, "commit": shapes.commit(call.world, call.repository, oid), "_links": links}


@route("GET", "/repos/{owner}/{repo}/activity", "contents:read")
def activity(call: Call) -> list[Json]:
    """List when branches moved, by default the newest first; pages by cursor."""
    ref = call.query("ref")
    ref = ref if not ref or ref.startswith("refs/") else f"refs/heads/{ref}"
    kind = call.query("activity_type")
    found = [
        one for one in call.repository.activities if ref in ("", one.ref) and kind in ("", one.kind)
    ]
    if call.query("direction", "desc") == "desc":
        found.reverse()
    after = call.query("after")
    if after:
        found = found[[str(one.id) for one in found].index(after) + 1 :]
    size = max(1, min(LARGEST_PAGE, int(call.query("per_page", str(DEFAULT_PAGE)))))
    page = found[:size]
    if len(found) > size:
        call.links = (
            f'<{call.world.web_url}/api/v3{call.request.path}?after={page[-1].id}>; rel="next"'
        )
    return [shapes.activity(call.world, one) for one in page]


@route("GET", "/repos/{owner}/{repo}/rules/branches/{branch...}", "metadata:read")
def rules(call: Call) -> list[Json]:
    """List the rules of rulesets that bind a branch; classic protection is not among them."""
    found = []
    for rule in checks.rules_for(call.repository, call.params["branch"]):
        if rule.kind == "ruleset":
            found += [{**entry, **_origin(call, rule)} for entry in rule_entries(rule)]
    return call.page(found)


def _origin(call: Call, rule: Rule) -> Json:
    return {
        "ruleset_source_type": "Repository",
        "ruleset_source": call.repository.full_name,
        "ruleset_id": rule.id,
    }


def rule_entries(rule: Rule) -> list[Json]:
    """Return a ruleset's rules, one per type."""
    entries: list[Json] = []
    if rule.required_checks:
        parameters: Json = {
            "strict_required_status_checks_policy": rule.strict,
            "required_status_checks": [
                {"context": name, "integration_id": checks.app_id(rule.check_apps[name])}
                if name in rule.check_apps
                else {"context": name}
                for name in rule.required_checks
            ],
        }
        entries.append({"type": "required_status_checks", "parameters": parameters})
    asks = rule.required_approvals or rule.require_conversation_resolution
    if asks or rule.require_pull_request:
        parameters = {
            "dismiss_stale_reviews_on_push": False,
            "require_code_owner_review": False,
            "require_last_push_approval": False,
            "required_approving_review_count": rule.required_approvals,
            "required_review_thread_resolution": rule.require_conversation_resolution,
        }
        entries.append({"type": "pull_request", "parameters": parameters})
    if rule.merge_queue:
        parameters = {
            "check_response_timeout_minutes": round(rule.merge_queue_timeout_minutes),
            "grouping_strategy": "ALLGREEN",
            "max_entries_to_build": 5,
            "max_entries_to_merge": 5,
            "merge_method": "SQUASH",
            "min_entries_to_merge": 1,
            "min_entries_to_merge_wait_minutes": 5,
        }
        entries.append({"type": "merge_queue", "parameters": parameters})
    return entries


def ref_shape(call: Call, ref: str, oid: str) -> Json:
    base = shapes.repository_url(call.world, call.repository)
    target = {"sha": oid, "type": "commit", "url": f"{base}/git/commits/{oid}"}
    return {"ref": ref, "node_id": f"REF_{ref}", "url": f"{base}/git/{ref}", "object": target}


@route("GET", "/repos/{owner}/{repo}/git/ref/{ref...}", "contents:read")
def get_ref(call: Call) -> Json:
    ref = f"refs/{call.params['ref']}"
    if ref not in call.repository.git.refs:
        raise HttpError(404, "Not Found")
    return ref_shape(call, ref, call.repository.git.refs[ref])


@route("GET", "/repos/{owner}/{repo}/git/matching-refs/{ref...}", "contents:read")
def matching_refs(call: Call) -> list[Json]:
    """List the refs that begin with a name."""
    prefix = f"refs/{call.params['ref']}"
    found = sorted(ref for ref in call.repository.git.refs if ref.startswith(prefix))
    return [ref_shape(call, ref, call.repository.git.refs[ref]) for ref in call.page(found)]


@route("POST", "/repos/{owner}/{repo}/git/refs", "contents:write", status=201)
def create_ref(call: Call) -> Json:
    """Create a branch or tag."""
    ref, oid = call.field("ref", str, "Reference"), call.field("sha", str, "Reference")
    git = call.repository.git
    if not ref.startswith("refs/") or ref.count("/") < 2:
        raise HttpError(422, "Reference name must start with 'refs/' and have at least two slashes")
    if ref in git.refs:
        raise HttpError(422, "Reference already exists")
    if git.resolve(oid) is None:
        raise HttpError(422, "Object does not exist")
    _set(call, ref, oid)
    return ref_shape(call, ref, oid)


def _set(call: Call, ref: str, oid: str) -> None:
    try:
        if ref.startswith("refs/heads/"):
            move_branch(call.world, call.repository, ref.removeprefix("refs/heads/"), oid)
        else:
            call.repository.git.update_ref(ref, oid)
    except GitError as error:
        raise HttpError(422, f"Reference update failed: {error}") from error


@route("PATCH", "/repos/{owner}/{repo}/git/refs/{ref...}", "contents:write")
def update_ref(call: Call) -> Json:
    """Move a branch or tag; backwards only by force."""
    ref, oid = f"refs/{call.params['ref']}", call.field("sha", str, "Reference")
    git = call.repository.git
    if ref not in git.refs:
        raise HttpError(422, "Reference does not exist")
    if git.resolve(oid) is None:
        raise HttpError(422, "Object does not exist")
    if not call.body.get("force") and git.compare(git.refs[ref], oid)[1]:
        raise HttpError(422, "Update is not a fast forward")
    _set(call, ref, oid)
    return ref_shape(call, ref, oid)


@route("DELETE", "/repos/{owner}/{repo}/git/refs/{ref...}", "contents:write")
def delete_ref(call: Call) -> Answer:
    """Delete a branch or tag."""
    ref, repository = f"refs/{call.params['ref']}", call.repository
    if ref not in repository.git.refs:
        raise HttpError(422, "Reference does not exist")
    name = ref.removeprefix("refs/heads/")
    if name == repository.default_branch:
        raise HttpError(422, "Cannot delete the default branch")
    if ref.startswith("refs/heads/") and checks.rules_for(repository, name):
        raise HttpError(422, "Cannot delete this branch")
    if ref.startswith("refs/heads/"):
        delete_branch(call.world, repository, name)
    else:
        repository.git.delete_ref(ref)
    return Answer(204)
