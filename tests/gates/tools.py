"""Gates that are the verdict of a tool of the field."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from gates.tree import COLLECTION, files, remembered, require, run, shell_scripts
from gates.yaml_files import load, walk

# The two links at the top lead to them.
_ANSIBLE = (f"{COLLECTION}/roles", f"{COLLECTION}/playbooks")
_OF_A_PLAY = {"hosts", "ansible.builtin.import_playbook"}


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


@remembered(lambda root: files(root, "*.yml", "*.yaml", ".yamllint", ".gitignore"))
def yamllint(root: Path) -> str:
    """Judge the layout of all YAML."""
    return run(root, ["yamllint", "--strict", "."])


# The layout of YAML is yamllint's to judge.
ANSIBLE_LINT = ("ansible-lint", "-q", "--skip-list=yaml")
ANSIBLE_LINT_READS = (
    *("collections", "inventory"),
    *(".ansible-lint", ".gitignore", "ansible.cfg", "collections.lock"),
)


@remembered(lambda root: files(root, *ANSIBLE_LINT_READS))
def ansible_lint(root: Path) -> str:
    """Judge roles and playbooks by the production profile.

    It starts a program for each playbook and directory of a role that it is told to judge. Those
    that another one imports, and roles, it finds and has parsed with the playbook that uses them.
    """
    playbooks = files(root, f"{COLLECTION}/playbooks/*")
    imported = {
        path.parent / play["ansible.builtin.import_playbook"]
        for path in playbooks
        for play in walk(load(root / path))
        if "ansible.builtin.import_playbook" in play
    }
    judged = [path for path in playbooks if path not in imported]
    judged += files(root, f"{COLLECTION}/roles/*.yml", f"{COLLECTION}/roles/*.j2")
    return run(root, [*ANSIBLE_LINT, *require(judged, "role or playbook")])


def ansible_lint_scenarios(root: Path) -> str:
    """Judge the scenarios' playbooks, and whatever else is Ansible's, likewise.

    One playbook that imports all of them spares a program for each.
    """
    apart = [f"{name}/" for name in (*_ANSIBLE, "roles", "playbooks")]
    # What is named to it, it judges, whatever its configuration says.
    apart += load(root / ".ansible-lint")["exclude_paths"]
    found = [path for path in files(root, "*.yml") if not str(path).startswith(tuple(apart))]
    playbooks = require([path for path in found if _is_playbook(load(root / path))], "playbook")
    with tempfile.TemporaryDirectory(prefix="aina-factory-lint-") as temporary:
        everything = Path(temporary, "everything.yml")
        everything.write_text(
            yaml.safe_dump(
                [
                    {"name": f"Import {path}", "ansible.builtin.import_playbook": str(root / path)}
                    for path in playbooks
                ],
                sort_keys=False,
            )
        )
        others = [path for path in found if path not in playbooks]
        return run(root, [*ANSIBLE_LINT, everything, *others])


def _is_playbook(document: object) -> bool:
    plays = document if isinstance(document, list) else []
    keys = [set(play) & _OF_A_PLAY if isinstance(play, dict) else set() for play in plays]
    return bool(keys) and all(keys)


@remembered(shell_scripts)
def shellcheck(root: Path) -> str:
    """Judge every file that a shell runs or sources."""
    scripts = require(shell_scripts(root), "shell script")
    return run(root, ["shellcheck", "--external-sources", *scripts])


def hadolint(root: Path) -> str:
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
