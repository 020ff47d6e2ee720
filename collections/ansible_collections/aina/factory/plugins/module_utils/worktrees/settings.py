"""Section ``reap`` of the configuration: what may be deleted of worktrees, and when."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.settings import setting

# Names that a build makes again: what matches may be deleted when git ignores it; anything
# else that git ignores keeps its worktree. A name that ends in a slash is a directory's (or
# that of a link to one): a file called "out" may well hold somebody's notes.
DISPOSABLE = (
    "node_modules/",
    ".pnpm-store/",
    "dist/",
    "build/",
    "out/",
    "target/",
    "coverage/",
    ".nyc_output/",
    ".next/",
    ".nuxt/",
    ".svelte-kit/",
    ".turbo/",
    ".cache/",
    ".parcel-cache/",
    ".vite/",
    ".eslintcache",
    ".venv/",
    "venv/",
    "__pycache__/",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".tox/",
    "test-results/",
    "playwright-report/",
    "storybook-static/",
    "*.pyc",
    "*.tsbuildinfo",
    "*.egg-info/",
)

# Names of what nobody makes again: environments, databases, keys. They keep a worktree even where
# a build's output lies, as a repository of any version control system does.
PRECIOUS = (
    ".env",
    ".env.*",
    ".envrc",
    "*.env",
    "*.sqlite",
    "*.sqlite3",
    "*.db",
    "*.db3",
    "*.rdb",
    "*.duckdb",
    "*.mdb",
    "*.kdbx",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.asc",
    "*.gpg",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_*_sk",
    ".netrc",
    ".pgpass",
    "*.fossil",
)

# What package managers and tools fill: their content bears such names, too.
PACKAGE_DIRECTORIES = (
    "node_modules/",
    ".pnpm-store/",
    ".venv/",
    "venv/",
    ".tox/",
    "__pycache__/",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".cache/",
    ".parcel-cache/",
    ".turbo/",
    ".vite/",
)
AMONG_PACKAGES = (
    ".env",
    ".env.*",
    "*.sqlite",
    "*.sqlite3",
    "*.kdbx",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_*_sk",
)

# What a forge calls a branch, a tag, and the head of a pull request.
HOLDING_REFS = ("refs/heads/*", "refs/tags/*", "refs/pull/*/head", "refs/merge-requests/*/head")


@dataclass(frozen=True)
class Reap:
    """Which worktrees may go, and for how long they can be had back.

    The job `janitor`, `factory reap` and the playbook `reap` read the same.
    """

    grace_seconds: float = setting(
        86400, "Worktrees that were touched within this time stay.", minimum=0
    )
    reap_pushed: bool = setting(
        True, "Whether a commit that the remote holds counts as safe although it has not landed."
    )
    other_remotes: tuple[str, ...] = setting(
        ("upstream",),
        "Remotes that are asked as well, where the checkout has them: a fork's work lands there.",
        adds=False,
    )
    base_branches: tuple[str, ...] = setting(
        (), "Branches (globs) on which work lands beside the default one, `release/*` for one."
    )
    holding_refs: tuple[str, ...] = setting(
        HOLDING_REFS,
        "Refs of a remote (globs) of which a commit is safe that one of them contains.",
        adds=True,
    )
    reap_dead_locks: bool = setting(
        False, "Whether a locked worktree can go when its lock names a process that is gone."
    )
    disposable: tuple[str, ...] = setting(
        DISPOSABLE,
        "Names (globs) that ignored files and directories may have and still be deleted; one that"
        " ends in a slash is a directory's.",
        adds=True,
    )
    precious: tuple[str, ...] = setting(
        PRECIOUS,
        "Names (globs) of files and directories that are never deleted with what is disposable:"
        " they keep the worktree.",
        adds=True,
    )
    package_directories: tuple[str, ...] = setting(
        PACKAGE_DIRECTORIES,
        "Directories that package managers and tools fill. In them, but not directly in them, only"
        " the names of `precious_among_packages` count, and not of a file that has a second link"
        " or a time before 1986, as those of packages have.",
        adds=True,
    )
    precious_among_packages: tuple[str, ...] = setting(
        AMONG_PACKAGES,
        "Which names of `precious` keep a worktree also deep in `package_directories`.",
        adds=True,
    )
    paperclip_roots: tuple[str, ...] = setting(
        (), "Directories whose worktrees belong to Paperclip and stay.", kind="path"
    )
    trash_retention_seconds: float = setting(
        600, "How long a deleted worktree can be had back.", minimum=0
    )
    reaped_commits_retention_days: int = setting(
        90,
        "How long commits that only the reaped worktree knew can be had back, by refs/reaped/.",
        minimum=1,
    )
    trash_disk_used_percent: float = setting(
        85,
        "A file system that is fuller than this gets the space back at once.",
        minimum=0,
        maximum=100,
    )
