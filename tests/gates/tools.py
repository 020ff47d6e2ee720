"""Gates that are the verdict of a tool of the field."""

from __future__ import annotations

from pathlib import Path

from gates.tree import COLLECTION, files, report, require, run, shell_scripts

# The two links at the top lead to them.
_ANSIBLE = (f"{COLLECTION}/roles", f"{COLLECTION}/playbooks")


def ruff_check(root: Path) -> str:
    """Judge the Python code by the rules of pyproject.toml."""
    return run(root, ["ruff", "check", "--quiet", "."])


def ruff_format(root: Path) -> str:
    """Judge the layout of the Python code."""
    return run(root, ["ruff", "format", "--check", "--diff", "--quiet", "."])


def mypy(root: Path) -> str:
    """Judge the types of all Python code, tests included."""
    return run(root, ["mypy", *require(files(root, "*.py"), "Python file")])


def import_contract(root: Path) -> str:
    """Judge what the core and the host command import, directly and through others."""
    path = f"{root / 'collections'}:{root / COLLECTION / 'host'}"
    argv = ["lint-imports", "--no-logo", "--cache-dir", str(root / ".import_linter_cache")]
    return run(root, argv, environment={"PYTHONPATH": path})


def yamllint(root: Path) -> str:
    """Judge the layout of all YAML."""
    return run(root, ["yamllint", "--strict", "."])


def ansible_lint(root: Path) -> str:
    """Judge roles and playbooks by the production profile."""
    return run(root, ["ansible-lint", "-q", *_existing(root, *_ANSIBLE)])


def ansible_lint_scenarios(root: Path) -> str:
    """Judge the scenarios' playbooks, and whatever else is Ansible's, likewise."""
    apart = ["--exclude", *(str(root / name) for name in (*_ANSIBLE, "roles", "playbooks"))]
    return run(root, ["ansible-lint", "-q", *apart])


def _existing(root: Path, *names: str) -> list[str]:
    return [name for name in names if (root / name).exists()]


def shellcheck(root: Path) -> str:
    """Judge every file that a shell runs or sources."""
    scripts = require(shell_scripts(root), "shell script")
    return run(root, ["shellcheck", "--external-sources", *scripts])


def hadolint(root: Path) -> str:
    """Judge every Dockerfile."""
    dockerfiles = require(files(root, "*Dockerfile*"), "Dockerfile")
    return run(root, ["hadolint", *dockerfiles])


def zizmor(root: Path) -> str:
    """Judge the safety of the workflows: the project's own and those that it ships."""
    workflows = require(files(root, "*.github/workflows/*.yml"), "workflow")
    return run(root, ["zizmor", "--offline", "--persona=pedantic", "--quiet", *workflows])


def antsibull_docs(root: Path) -> str:
    """Judge the documentation of the collection's plugins and roles."""
    argv = ["antsibull-docs", "lint-collection-docs", "--plugin-docs"]
    return run(root, [*argv, "--validate-collection-refs=all", COLLECTION])


def changelog(root: Path) -> str:
    """Judge the collection's changelog and the fragments that wait for a release."""
    collection = root / COLLECTION
    return run(collection, ["antsibull-changelog", "lint"])


def ansible_syntax(root: Path) -> str:
    """Let ansible-playbook parse every playbook, with the inventory of the sandbox."""
    playbooks = require(files(root, f"{COLLECTION}/playbooks/*.yml"), "playbook")
    argv = ["ansible-playbook", "--syntax-check", "--inventory", "inventory/sandbox"]
    return report(filter(None, [run(root, [*argv, *playbooks])]))
