"""What exists on the simulated GitHub. Plain records; behaviour lives beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.gitstore import GitStore

Json = dict[str, Any]

ROLES = ("read", "triage", "write", "maintain", "admin")


@dataclass
class Account:
    """A user, a bot or an organization."""

    id: int
    login: str
    kind: str = "User"
    name: str | None = None

    @property
    def email(self) -> str:
        """The address that GitHub gives to a private account."""
        return f"{self.id}+{self.login}@users.noreply.github.com"


@dataclass
class Token:
    """What a caller may do. ``permissions`` is None for a user's own token."""

    value: str
    account: Account
    permissions: dict[str, str] | None = None
    repositories: set[str] | None = None
    installation: Installation | None = None
    expires_at: float | None = None
    # Of a classic token; a fine-grained one has permissions and no installation.
    scopes: tuple[str, ...] = ("admin:org", "repo", "workflow")

    @property
    def bucket(self) -> str:
        """Whose rate limit this token spends."""
        if self.installation:
            return f"installation:{self.installation.id}"
        return f"user:{self.account.login}"


@dataclass
class App:
    """A GitHub App and its public key."""

    id: int
    slug: str
    client_id: str
    public_key: str
    private_key_file: str
    permissions: dict[str, str]


@dataclass
class Installation:
    """An App on an account. ``repositories`` None stands for all."""

    id: int
    app: App
    account: Account
    repositories: list[str] | None = None


@dataclass
class Label:
    """A label of one repository."""

    id: int
    name: str
    color: str = "ededed"
    description: str = ""


@dataclass
class LabelEvent:
    """A label that was put on (``LabeledEvent``) or taken off (``UnlabeledEvent``), and by whom."""

    id: int
    kind: str
    actor: Account
    label: Label
    created_at: float


@dataclass
class Activity:
    """A branch that was made, moved or deleted, when and by whom. The server's own time."""

    id: int
    kind: str
    ref: str
    before: str
    after: str
    actor: Account
    created_at: float


@dataclass
class Comment:
    """A comment on an issue or a pull request."""

    id: int
    author: Account
    body: str
    created_at: float
    updated_at: float
    issue: Issue


@dataclass
class Review:
    """A review; ``state`` as in GraphQL."""

    id: int
    author: Account
    state: str
    body: str
    commit_oid: str
    submitted_at: float
    pull: Pull


@dataclass
class Issue:
    """An issue, or the issue half of a pull request."""

    id: int
    repository: Repository
    number: int
    title: str
    body: str
    author: Account
    created_at: float
    updated_at: float
    state: str = "OPEN"
    state_reason: str | None = None
    closed_at: float | None = None
    labels: list[Label] = field(default_factory=list)
    label_events: list[LabelEvent] = field(default_factory=list)
    assignees: list[Account] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    locked: bool = False
    visible_from: float = 0.0


@dataclass
class Pull(Issue):
    """A pull request. ``head_oid`` and ``base_oid`` stand still once it is no longer open."""

    base: str = "main"
    head: str = ""
    head_repository: str = ""
    head_oid: str = ""
    base_oid: str = ""
    draft: bool = False
    merged_at: float | None = None
    merged_by: Account | None = None
    merge_commit: str | None = None
    reviews: list[Review] = field(default_factory=list)
    unresolved_threads: int = 0
    auto_merge: Json | None = None
    head_deleted: bool = False
    # The pair of base and head whose mergeability was asked for, and when.
    probed: tuple[str, str] | None = None
    probed_at: float = 0.0

    @property
    def cross_repository(self) -> bool:
        """Whether the head lies in a fork."""
        return self.head_repository != self.repository.full_name


@dataclass
class CheckRun:
    """A check on one commit. ``status`` and ``conclusion`` in lower case, as in REST."""

    id: int
    name: str
    head_oid: str
    status: str
    conclusion: str | None
    started_at: float | None
    completed_at: float | None
    app: str = "github-actions"
    workflow: str | None = "ci"
    suite_id: int = 0
    run_id: int | None = None
    # A simulated check ends by itself at this time with this conclusion.
    ends_at: float | None = None
    ends_with: str | None = None
    # It waits for a slot of CI since then, and will take so long.
    queued_at: float = 0.0
    takes_seconds: float = 0.0
    job: Job | None = None


@dataclass
class Status:
    """A commit status; ``state`` in lower case."""

    id: int
    context: str
    state: str
    description: str | None
    target_url: str | None
    created_at: float
    creator: Account


@dataclass
class Rule:
    """Protection of the branches that match ``branch``, classic or as a ruleset."""

    id: int
    branch: str
    kind: str = "protection"
    required_checks: list[str] = field(default_factory=list)
    # Check to the slug of the one app from which it counts; others may come from anybody.
    check_apps: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    required_approvals: int = 0
    require_pull_request: bool = False
    require_conversation_resolution: bool = False
    enforce_admins: bool = True
    bypass: list[str] = field(default_factory=list)
    merge_queue: bool = False
    merge_queue_timeout_minutes: float = 60.0


@dataclass
class QueueEntry:
    """A pull request in the merge queue; the group is the commit that is tested for it."""

    id: int
    pull: Pull
    enqueuer: Account
    enqueued_at: float
    head_oid: str
    jump: bool = False
    parent_oid: str = ""
    group_oid: str = ""
    branch: str = ""
    built_at: float = 0.0


@dataclass
class Ci:
    """A workflow that the simulator plays for every new head of a matching branch."""

    name: str
    workflow: str = "ci"
    branches: list[str] = field(default_factory=lambda: ["*"])
    delay_seconds: float = 0.0
    conclusion: str = "success"
    fails_if_file: list[str] = field(default_factory=list)
    fails_if_together: list[list[str]] = field(default_factory=list)
    reports: bool = True
    # Whether the workflow has the trigger without which a merge queue waits in vain.
    merge_group: bool = True
    # CI without minutes: a run fails at once, and no job of it ever starts.
    starts: bool = True


@dataclass
class Asset:
    """A file of a release."""

    id: int
    name: str
    content: bytes
    digest: str | None
    content_type: str
    created_at: float


@dataclass
class Release:
    """A release and its files."""

    id: int
    tag: str
    name: str
    body: str
    created_at: float
    author: Account
    prerelease: bool = False
    draft: bool = False
    assets: list[Asset] = field(default_factory=list)


@dataclass
class RunnerGroup:
    """A group of self-hosted runners."""

    id: int
    name: str
    default: bool = False
    visibility: str = "all"
    allows_public_repositories: bool = False


@dataclass
class Runner:
    """A registered runner. ``busy`` follows from the job it holds."""

    id: int
    name: str
    os: str
    architecture: str
    labels: list[Json]
    group_id: int
    ephemeral: bool
    secret: str
    version: str | None = None
    status: str = "offline"
    job_id: int | None = None
    disable_update: bool = True
    visible_from: float = 0.0
    last_seen: float = 0.0
    # It said goodbye: what it still waits for is not answered any more.
    is_leaving: bool = False


@dataclass
class Job:
    """One job of a workflow run; ``steps`` are shell commands."""

    id: int
    run: Run
    name: str
    labels: list[str]
    steps: list[Json]
    created_at: float
    status: str = "queued"
    conclusion: str | None = None
    started_at: float | None = None
    completed_at: float | None = None
    runner: Runner | None = None
    runner_name: str | None = None
    check: CheckRun | None = None
    log: str = ""
    # Played by the simulator: no runner takes it.
    is_played: bool = False


@dataclass
class Workflow:
    """A workflow file of a repository."""

    id: int
    name: str
    path: str
    state: str = "active"
    # What starting it by hand queues, and whether that may be done.
    jobs: list[Json] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    dispatchable: bool = False


@dataclass
class Run:
    """A workflow run."""

    id: int
    workflow: Workflow
    number: int
    branch: str
    head_oid: str
    event: str
    created_at: float
    updated_at: float
    actor: Account
    jobs: list[Job] = field(default_factory=list)
    attempt: int = 1
    suite_id: int = 0

    @property
    def status(self) -> str:
        """Queued, in progress or completed, after the jobs."""
        states = {job.status for job in self.jobs}
        if states <= {"completed"}:
            return "completed"
        return "in_progress" if states - {"queued"} else "queued"

    @property
    def conclusion(self) -> str | None:
        """The worst conclusion of the jobs, once all have one."""
        if self.status != "completed":
            return None
        found = {job.conclusion for job in self.jobs}
        for bad in ("failure", "timed_out", "cancelled"):
            if bad in found:
                return bad
        return "success"


@dataclass
class RunnerScope:
    """Where runners are registered: a repository or an organization."""

    name: str
    url: str
    runners: dict[int, Runner] = field(default_factory=dict)
    groups: dict[int, RunnerGroup] = field(default_factory=dict)
    # One-hour tokens: value to (purpose, expiry).
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    used_names: set[str] = field(default_factory=set)
    # An organization's own defaults; a repository has its own.
    fork_approval_policy: str = "all_external_contributors"
    fork_workflows: Json = field(default_factory=dict)


@dataclass
class Repository:
    """A repository with all that hangs on it."""

    id: int
    owner: Account
    name: str
    git: GitStore
    created_at: float
    scope: RunnerScope
    private: bool = True
    fork_of: str | None = None
    default_branch: str = "main"
    description: str | None = None
    archived: bool = False
    allow_squash_merge: bool = True
    allow_merge_commit: bool = True
    allow_rebase_merge: bool = True
    allow_auto_merge: bool = False
    allow_update_branch: bool = True
    delete_branch_on_merge: bool = False
    merge_delay_seconds: float = 0.0
    update_branch_delay_seconds: float = 0.0
    fork_approval_policy: str = "all_external_contributors"
    fork_workflows: Json = field(default_factory=dict)
    # Of Actions, by name; and those of the organization that the repository sees.
    variables: dict[str, str] = field(default_factory=dict)
    organization_variables: dict[str, str] = field(default_factory=dict)
    workflow_permissions: Json = field(default_factory=dict)
    actions_permissions: Json = field(default_factory=dict)
    collaborators: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    activities: list[Activity] = field(default_factory=list)
    issues: dict[int, Issue] = field(default_factory=dict)
    next_number: int = 1
    checks: dict[str, list[CheckRun]] = field(default_factory=dict)
    statuses: dict[str, list[Status]] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    ci: list[Ci] = field(default_factory=list)
    ci_runs: int = 0
    # How many played checks run at once, 0 for all; the others wait for their turn.
    ci_slots: int = 0
    releases: list[Release] = field(default_factory=list)
    workflows: dict[str, Workflow] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    queue: list[QueueEntry] = field(default_factory=list)
    # Who left it without landing, and why.
    left_queue: list[tuple[int, str]] = field(default_factory=list)
    # Work that GitHub does later: (due time, what).
    pending_updates: list[tuple[float, int, str, str]] = field(default_factory=list)

    @property
    def full_name(self) -> str:
        """Owner and name, as in the address."""
        return f"{self.owner.login}/{self.name}"

    @property
    def pulls(self) -> list[Pull]:
        """All pull requests, by number."""
        return [issue for issue in self.issues.values() if isinstance(issue, Pull)]
