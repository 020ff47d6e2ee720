"""Pull requests: opening, following pushes, mergeability, reviews, updating and merging."""

from __future__ import annotations

import re

from simulator import checks
from simulator.gitstore import ConflictError, GitError, Identity
from simulator.model import Account, Activity, Issue, Pull, Repository, Review, Rule, Token
from simulator.world import World

CLOSING = re.compile(
    r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+(?:(?P<repo>[\w.-]+/[\w.-]+))?#(?P<number>\d+)",
    re.IGNORECASE,
)
METHODS = ("merge", "squash", "rebase")
READ_AHEAD = 31
NOTHING = "0" * 40


class RefusedError(Exception):
    """GitHub would not do this now. ``status`` is the REST answer's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def identity(account: Account) -> Identity:
    """Return the name and address that a commit of this account carries."""
    return Identity(account.name or account.login, account.email)


# --- Life -------------------------------------------------------------------


def open_pull(
    world: World,
    repository: Repository,
    *,
    author: Account,
    title: str,
    head: str,
    base: str,
    body: str = "",
    draft: bool = False,
    head_repository: Repository | None = None,
    created_at: float | None = None,
) -> Pull:
    """Open a pull request; with ``created_at`` as history, whose refs the caller writes.

    Raises:
        RefusedError: a branch is missing, there is nothing to merge, or one is open already.

    """
    source = head_repository or repository
    head_oid, base_oid = source.git.branch(head), repository.git.branch(base)
    if head_oid is None or base_oid is None:
        raise RefusedError(422, f"{'head' if head_oid is None else 'base'} invalid")
    same = (p for p in repository.pulls if p.state == "OPEN" and (p.head, p.base) == (head, base))
    if any(pull.head_repository == source.full_name for pull in same):
        label = f"{source.owner.login}:{head}"
        raise RefusedError(422, f"A pull request already exists for {label}.")
    if source is not repository:
        fetch_head(repository, source, head_oid)
    if created_at is None and repository.git.compare(base_oid, head_oid)[0] == 0:
        raise RefusedError(422, f"No commits between {base} and {head}")
    moment = world.now() if created_at is None else created_at
    number = repository.next_number
    repository.next_number += 1
    pull = Pull(
        id=world.new_id(),
        repository=repository,
        number=number,
        title=title,
        body=body,
        author=author,
        created_at=moment,
        updated_at=moment,
        base=base,
        head=head,
        head_repository=source.full_name,
        head_oid=head_oid,
        base_oid=base_oid,
        draft=draft,
        visible_from=world.visible_from() if created_at is None else 0.0,
    )
    repository.issues[number] = pull
    if created_at is None:
        repository.git.update_ref(f"refs/pull/{number}/head", head_oid)
    return pull


def fetch_head(repository: Repository, source: Repository, oid: str) -> None:
    """Bring a fork's commit into the repository, as GitHub's shared object store does."""
    repository.git.git("fetch", "--quiet", str(source.git.path), oid)


def close(world: World, issue: Issue, *, reason: str | None = None) -> None:
    """Close an issue or pull request that is open."""
    if issue.state == "OPEN":
        issue.state, issue.closed_at, issue.state_reason = "CLOSED", world.now(), reason
        issue.updated_at = world.now()


def reopen(world: World, issue: Issue) -> None:
    """Open a closed one again.

    Raises:
        RefusedError: it was merged, or its branches are gone.

    """
    if issue.state == "MERGED":
        raise RefusedError(422, "Cannot reopen a merged pull request")
    if isinstance(issue, Pull):
        source = world.repository(issue.head_repository)
        if source is None or source.git.branch(issue.head) is None:
            raise RefusedError(422, f"The {issue.head} branch has been deleted.")
        if issue.repository.git.branch(issue.base) is None:
            raise RefusedError(422, f"The {issue.base} branch has been deleted.")
    issue.state, issue.closed_at, issue.state_reason = "OPEN", None, None
    issue.updated_at = world.now()


def closing_issues(pull: Pull) -> list[Issue]:
    """Return the issues that the text promises to close (only on the default branch)."""
    if pull.base != pull.repository.default_branch:
        return []
    found = []
    for match in CLOSING.finditer(f"{pull.title}\n{pull.body}"):
        issue = pull.repository.issues.get(int(match["number"]))
        elsewhere = match["repo"] and match["repo"].lower() != pull.repository.full_name.lower()
        if issue and not isinstance(issue, Pull) and not elsewhere and issue not in found:
            found.append(issue)
    return found


# --- Following the branches -------------------------------------------------


def refs_changed(
    world: World, repository: Repository, before: dict[str, str], pusher: Account | None = None
) -> None:
    """Do what GitHub does when branches were pushed, moved or deleted."""
    after = repository.git.refs
    names = (name for name in {**before, **after} if name.startswith("refs/heads/"))
    for ref in sorted(name for name in names if before.get(name) != after.get(name)):
        branch = ref.removeprefix("refs/heads/")
        oid = after.get(ref)
        note_activity(world, repository, ref, before.get(ref), oid, pusher)
        if oid is None:
            _branch_deleted(world, repository, branch)
        else:
            _branch_moved(world, repository, branch, oid, before.get(ref), pusher)


def note_activity(
    world: World,
    repository: Repository,
    ref: str,
    old: str | None,
    new: str | None,
    actor: Account | None = None,
    moment: float | None = None,
) -> None:
    """Keep who moved a branch and when, whatever its commits say of their own dates."""
    kind = "push" if old else "branch_creation"
    if new is None:
        kind = "branch_deletion"
    elif old and repository.git.compare(old, new)[1]:
        kind = "force_push"
    repository.activities.append(
        Activity(
            world.new_id(),
            kind,
            ref,
            old or NOTHING,
            new or NOTHING,
            actor or repository.owner,
            world.now() if moment is None else moment,
        )
    )


def _branch_deleted(world: World, repository: Repository, branch: str) -> None:
    for pull in world.all_pulls():
        if pull.head_repository == repository.full_name and pull.head == branch:
            pull.head_deleted = True
            close(world, pull)
        # Deleting through git or the API closes dependants; only the repository's own
        # setting retargets them.
        elif pull.repository is repository and pull.base == branch:
            close(world, pull)


def _branch_moved(
    world: World,
    repository: Repository,
    branch: str,
    oid: str,
    old: str | None,
    pusher: Account | None,
) -> None:
    brought: set[str] | None = None
    for pull in world.all_pulls():
        if pull.state != "OPEN":
            continue
        if pull.head_repository == repository.full_name and pull.head == branch:
            _head_moved(world, repository, pull, oid)
        if pull.repository is repository and pull.base == branch:
            if brought is None:
                brought = set(repository.git.commits_between(old, oid)) if old else {oid}
            _base_moved(world, pull, oid, brought, pusher)
    checks.start_ci(world, repository, branch, oid)


def _head_moved(world: World, source: Repository, pull: Pull, oid: str) -> None:
    if pull.cross_repository:
        fetch_head(pull.repository, source, oid)
    pull.head_oid, pull.head_deleted, pull.updated_at = oid, False, world.now()
    pull.repository.git.update_ref(f"refs/pull/{pull.number}/head", oid)
    if pull.cross_repository:
        checks.start_ci(world, pull.repository, pull.head, oid)


def _base_moved(
    world: World, pull: Pull, oid: str, brought: set[str], pusher: Account | None
) -> None:
    pull.base_oid = oid
    # Whoever pushes a head into the base, also below a merge commit, has merged the pull request.
    if pull.head_oid in brought:
        _mark_merged(world, pull, oid, pusher)


# --- Mergeability -----------------------------------------------------------


def live_base(pull: Pull) -> str:
    """Return the base's tip while the pull request is open, else the one it ended on."""
    if pull.state != "OPEN":
        return pull.base_oid
    return pull.repository.git.branch(pull.base) or pull.base_oid


def _probe(world: World, pull: Pull) -> tuple[str, str]:
    """Start the computation of mergeability, as the first read of a pull request does."""
    pair = (live_base(pull), pull.head_oid)
    if pull.probed != pair:
        pull.probed, pull.probed_at = pair, world.now()
    return pair


def _merged_tree(pull: Pull, pair: tuple[str, str]) -> str | None:
    """Merge on paper, the next few open pull requests in the same run of git.

    Readers come in pages; one process per pull request would be most of the time.
    """
    base, number = pair[0], pull.number
    later = (p for p in pull.repository.pulls if p.state == "OPEN" and p.number > number)
    ahead = [(base, other.head_oid) for other in later if other.base == pull.base]
    return pull.repository.git.merged_tree_or_none(pair, ahead[:READ_AHEAD])


def _computed(world: World, pull: Pull) -> bool:
    return world.now() >= pull.probed_at + pull.repository.merge_delay_seconds


def mergeable(world: World, pull: Pull) -> str:
    """Return MERGEABLE, CONFLICTING, or UNKNOWN while it is being computed."""
    if pull.state != "OPEN":
        return "UNKNOWN"
    pair = _probe(world, pull)
    if not _computed(world, pull):
        return "UNKNOWN"
    tree = _merged_tree(pull, pair)
    return "CONFLICTING" if tree is None else "MERGEABLE"


def may_push(repository: Repository, account: Account) -> bool:
    """Say whether an account may write to a repository."""
    role = repository.collaborators.get(account.login)
    return account is repository.owner or role in {"write", "maintain", "admin"}


def opinions(pull: Pull, *, writers_only: bool) -> list[Review]:
    """Return each reviewer's newest review that says yes or no; a mere comment changes nothing."""
    found = {r.author.login: r for r in pull.reviews if r.state != "COMMENTED"}
    return [r for r in found.values() if not writers_only or may_push(pull.repository, r.author)]


def review_decision(pull: Pull) -> str | None:
    """Return the outcome of the reviews; None where no rule asks for any."""
    needed = max(
        (r.required_approvals for r in checks.rules_for(pull.repository, pull.base)), default=0
    )
    if not needed:
        return None
    states = [review.state for review in opinions(pull, writers_only=True)]
    if "CHANGES_REQUESTED" in states:
        return "CHANGES_REQUESTED"
    approvals = states.count("APPROVED")
    return "APPROVED" if approvals >= needed else "REVIEW_REQUIRED"


def behind_by(pull: Pull) -> int:
    """Return how many commits of the base the head does not have."""
    return pull.repository.git.compare(live_base(pull), pull.head_oid)[1]


def role_of(repository: Repository, token: Token) -> str | None:
    """Return what a caller may do in a repository: read to admin, or None."""
    if token.permissions is not None:
        allowed = token.repositories
        return "admin" if allowed is None or repository.full_name in allowed else None
    login = token.account.login
    if login == repository.owner.login:
        return "admin"
    role = repository.collaborators.get(login)
    return role or (None if repository.private else "read")


def binding_rules(repository: Repository, branch: str, token: Token) -> list[Rule]:
    """Return the rules of a branch that this caller cannot pass by."""
    rules = checks.rules_for(repository, branch)
    admin = token.permissions is None and role_of(repository, token) == "admin"
    login = token.account.login
    return [
        rule
        for rule in rules
        if login not in rule.bypass
        and not (admin and rule.kind == "protection" and not rule.enforce_admins)
    ]


def push_blocker(repository: Repository, branch: str, oid: str, token: Token) -> str:
    """Return why the rules forbid to push a commit to a branch, in GitHub's words, or ""."""
    rules = binding_rules(repository, branch, token)
    if any(rule.merge_queue for rule in rules):
        return "Changes must be made through the merge queue"
    if any(rule.require_pull_request or rule.required_approvals for rule in rules):
        return "Changes must be made through a pull request."
    missing = checks.unmet(repository, oid, rules)
    if missing:
        name, state = missing[0]
        words = {"EXPECTED": "expected", "PENDING": "in progress"}.get(state, "failing")
        return f'Required status check "{name}" is {words}.'
    return ""


def blockers(pull: Pull, rules: list[Rule]) -> list[str]:
    """Return why the rules forbid the merge, in GitHub's words."""
    found = []
    names = checks.required_names(rules)
    missing = checks.unmet(pull.repository, pull.head_oid, rules)
    if len(missing) > 1:
        verb = "expected" if all(s == "EXPECTED" for _, s in missing) else "failing"
        found.append(f"{len(missing)} of {len(names)} required status checks are {verb}.")
    elif missing:
        name, state = missing[0]
        words = {"EXPECTED": "expected", "PENDING": "in progress"}.get(state, "failing")
        found.append(f'Required status check "{name}" is {words}.')
    approvals = max((rule.required_approvals for rule in rules), default=0)
    decision = review_decision(pull)
    if approvals and decision == "CHANGES_REQUESTED":
        found.append("Changes requested by a reviewer with write access.")
    elif approvals and decision != "APPROVED":
        plural = "approving review is" if approvals == 1 else "approving reviews are"
        found.append(f"At least {approvals} {plural} required by reviewers with write access.")
    if pull.unresolved_threads and any(rule.require_conversation_resolution for rule in rules):
        found.append("A conversation must be resolved before this pull request can be merged.")
    if any(rule.merge_queue for rule in rules):
        found.append("Changes must be made through the merge queue")
    return found


def merge_state(world: World, pull: Pull, token: Token) -> str:
    """Return mergeStateStatus as this caller sees it."""
    answer = mergeable(world, pull)
    if answer == "UNKNOWN":
        return "UNKNOWN"
    if answer == "CONFLICTING":
        return "DIRTY"
    if pull.draft:
        return "DRAFT"
    rules = checks.rules_for(pull.repository, pull.base)
    visible = [rule for rule in rules if token.account.login not in rule.bypass]
    if blockers(pull, [rule for rule in visible if not rule.merge_queue]):
        return "BLOCKED"
    if any(rule.strict for rule in rules) and behind_by(pull):
        return "BEHIND"
    found = checks.rollup(pull.repository, pull.head_oid)
    return "UNSTABLE" if found and found.state != "SUCCESS" else "CLEAN"


# --- Updating and merging ---------------------------------------------------


def update_branch(
    world: World, pull: Pull, actor: Account, expected: str | None, method: str = "MERGE"
) -> None:
    """Bring the base into the head; done later where the repository has a delay.

    Raises:
        RefusedError: the head has moved, or they conflict.

    """
    if expected and expected != pull.head_oid:
        raise RefusedError(422, "expected head sha didn’t match current head ref.")  # noqa: RUF001
    if not behind_by(pull):
        raise RefusedError(422, "There are no new commits on the base branch.")
    git, base = pull.repository.git, live_base(pull)
    if git.merged_trees([(base, pull.head_oid)])[base, pull.head_oid] is None:
        raise RefusedError(422, "merge conflict between base and head")
    delay = pull.repository.update_branch_delay_seconds
    if delay:
        due = world.now() + delay
        pull.repository.pending_updates.append((due, pull.number, method, actor.login))
    else:
        apply_update(world, pull, actor, method)


def apply_update(world: World, pull: Pull, actor: Account, method: str) -> None:
    """Move the head to the updated commit."""
    source = world.repository(pull.head_repository)
    if source is None or pull.state != "OPEN":
        return
    git, base = pull.repository.git, live_base(pull)
    try:
        if method == "REBASE":
            new = git.rebase(base, pull.head_oid, world.now(), identity(actor))
        else:
            tree = git.merged_tree(base, pull.head_oid)
            message = f"Merge branch '{pull.base}' into {pull.head}"
            parents = [pull.head_oid, base]
            new = git.commit_tree(tree, parents, message, identity(actor), world.now())
    except ConflictError as error:
        raise RefusedError(422, str(error)) from error
    if source is not pull.repository:
        fetch_head(source, pull.repository, new)
    move_branch(world, source, pull.head, new, old=pull.head_oid, pusher=actor)


def settle(world: World, repository: Repository) -> None:
    """Carry out the updates whose time has come."""
    now = world.now()
    due = [item for item in repository.pending_updates if item[0] <= now]
    for item in due:
        repository.pending_updates.remove(item)
        pull = repository.issues[item[1]]
        if isinstance(pull, Pull):
            # GitHub, too, drops an update that has become impossible meanwhile.
            try:
                apply_update(world, pull, world.account(item[3]), item[2])
            except (RefusedError, GitError):
                continue


def move_branch(
    world: World,
    repository: Repository,
    branch: str,
    oid: str,
    old: str | None = None,
    pusher: Account | None = None,
) -> None:
    """Point a branch at a commit and let everything follow."""
    before = dict(repository.git.refs)
    repository.git.update_ref(f"refs/heads/{branch}", oid, old)
    refs_changed(world, repository, before, pusher)


def delete_branch(world: World, repository: Repository, branch: str) -> None:
    """Delete a branch; pull requests on it and from it close."""
    before = dict(repository.git.refs)
    repository.git.delete_ref(f"refs/heads/{branch}")
    refs_changed(world, repository, before)


def merge(
    world: World,
    pull: Pull,
    token: Token,
    *,
    method: str,
    expected: str | None = None,
    title: str | None = None,
    message: str | None = None,
) -> str:
    """Merge a pull request and return the new commit on its base.

    Raises:
        RefusedError: with GitHub's status and words.

    """
    _refuse_merge(world, pull, token, method, expected)
    git, base = pull.repository.git, live_base(pull)
    try:
        new = merge_commit(world, pull, token.account, method, base, title, message)
        git.update_ref(f"refs/heads/{pull.base}", new, base)
    except ConflictError as error:
        raise RefusedError(405, "Pull Request is not mergeable") from error
    except GitError as error:
        raise RefusedError(
            405, "Base branch was modified. Review and try the merge again."
        ) from error
    landed(world, pull, token.account, new, base)
    return new


def _refuse_merge(
    world: World, pull: Pull, token: Token, method: str, expected: str | None
) -> None:
    repository = pull.repository
    if pull.state == "MERGED":
        raise RefusedError(405, "Pull Request is already merged")
    if pull.state != "OPEN":
        raise RefusedError(405, "Pull Request is closed")
    if expected and expected != pull.head_oid:
        raise RefusedError(409, "Head branch was modified. Review and try the merge again.")
    if pull.draft:
        raise RefusedError(405, "Pull Request is still a draft")
    allowed = {
        "merge": (repository.allow_merge_commit, "Merge commits are"),
        "squash": (repository.allow_squash_merge, "Squash merges are"),
        "rebase": (repository.allow_rebase_merge, "Rebase merges are"),
    }
    permitted, words = allowed[method]
    if not permitted:
        raise RefusedError(405, f"{words} not allowed on this repository.")
    answer = mergeable(world, pull)
    if answer == "CONFLICTING":
        raise RefusedError(405, "Pull Request is not mergeable")
    rules = binding_rules(repository, pull.base, token)
    found = blockers(pull, rules)
    if found:
        raise RefusedError(405, "\n".join(found))
    if any(rule.strict for rule in rules) and behind_by(pull):
        raise RefusedError(405, "The head branch is not up to date with the base branch.")
    if not _may_land_workflows(pull, token):
        raise RefusedError(403, "Resource not accessible by integration")


def _may_land_workflows(pull: Pull, token: Token) -> bool:
    """Say whether a caller may bring these workflows: an App needs a permission for new ones.

    A file that some branch has already with this content is none.
    """
    if token.permissions is None or "workflows" in token.permissions:
        return True
    git = pull.repository.git

    def workflows(tree: str) -> set[str]:
        return set(git.git("ls-tree", "-r", tree, ".github/workflows/").splitlines())

    wanted = workflows(pull.head_oid)
    branches = (name for name in git.refs if wanted and name.startswith("refs/heads/"))
    return not wanted.difference(*(workflows(name) for name in branches))


def merge_commit(
    world: World,
    pull: Pull,
    actor: Account,
    method: str,
    base: str,
    title: str | None,
    message: str | None,
) -> str:
    """Write the commit that lands a pull request on ``base``; no branch moves.

    Raises:
        ConflictError: they conflict.

    """
    git, now = pull.repository.git, world.now()
    if method == "rebase":
        return git.rebase(base, pull.head_oid, now)
    tree = git.merged_tree(base, pull.head_oid)
    if method == "squash":
        parents, author = [base], identity(pull.author)
        title = title or f"{pull.title} (#{pull.number})"
        text = message if message is not None else _squash_body(pull, base)
    else:
        parents, author = [base, pull.head_oid], identity(actor)
        owner = pull.head_repository.partition("/")[0]
        title = title or f"Merge pull request #{pull.number} from {owner}/{pull.head}"
        text = message if message is not None else pull.title
    full = f"{title}\n\n{text}".rstrip() + "\n"
    return git.commit_tree(tree, parents, full, author, now)


def _squash_body(pull: Pull, base: str) -> str:
    git = pull.repository.git
    messages = [git.commit(oid)["message"] for oid in git.commits_between(base, pull.head_oid)]
    return "\n\n".join(f"* {text}" for text in messages) if len(messages) > 1 else ""


def _mark_merged(world: World, pull: Pull, oid: str, actor: Account | None) -> None:
    now = world.now()
    pull.state, pull.merge_commit, pull.merged_by = "MERGED", oid, actor
    pull.merged_at = pull.closed_at = pull.updated_at = now
    for issue in closing_issues(pull):
        close(world, issue, reason="completed")


def landed(world: World, pull: Pull, actor: Account, new: str, base: str) -> None:
    """Let everything follow once ``new`` has replaced ``base`` on the base branch."""
    repository = pull.repository
    ref = f"refs/heads/{pull.base}"
    _mark_merged(world, pull, new, actor)
    pull.base_oid = base
    refs_changed(world, repository, {**repository.git.refs, ref: base}, actor)
    if repository.delete_branch_on_merge and not pull.cross_repository:
        for other in repository.pulls:
            if other.state == "OPEN" and other.base == pull.head:
                other.base = pull.base
        if repository.git.branch(pull.head):
            delete_branch(world, repository, pull.head)
