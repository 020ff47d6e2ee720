"""Every gate objects to a tree with the fault it is there for.

A gate that cannot fail is worse than none. The trees hold the project's own
settings and one planted fault; the report must name it, so that a gate that
fails for another reason does not count.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from gates import sanity
from gates.registry import ALL, FAST, SLOW
from gates.tree import COLLECTION, ROOT, files, remembered

SETTINGS = (
    *(".ansible-lint", ".gitignore", ".yamllint", "ansible.cfg", "pyproject.toml"),
    *("requirements.lock", "requirements.yml", "collections.lock"),
    *(f"{COLLECTION}/galaxy.yml", f"{COLLECTION}/meta/runtime.yml"),
    *(f"{COLLECTION}/tests/config.yml", f"{COLLECTION}/changelogs/config.yaml"),
    f"{COLLECTION}/changelogs/changelog.yaml",
)
CORE = f"{COLLECTION}/plugins/module_utils"
MODULE = f"{COLLECTION}/plugins/modules/sample.py"
DOCUMENTED = '''\
#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: sample
short_description: Sample
version_added: 0.1.0
description: {description}
options: {{}}
author: aina-factory contributors (@ainative-academy)
"""
EXAMPLES = r"""
- name: Sample
  aina.factory.sample:
"""
RETURN = r""" # """

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule({{}}, supports_check_mode=True)
    {statement}


if __name__ == "__main__":
    main()
'''
SPEC = """\
---
argument_specs:
  main:
    short_description: Sample
    description: Sample.
    author: aina-factory contributors
    options:
      sample_limit_bytes:
        description: How much is kept.
        type: int
        default: 10
"""
ROLE = f"{COLLECTION}/roles/sample"
SPEC_PATH = f"{ROLE}/meta/argument_specs.yml"
SECTION = """\
      # Section reap, written by script/generate.
      {option}
"""
END = "      # End of section reap.\n"
WORKFLOW = """\
---
name: sample
on: pull_request
permissions: {{}}
jobs:
  sample:
    runs-on: ubuntu-24.04
    steps:
      - {step}
"""


@dataclass(frozen=True)
class Fault:
    """Files of a broken tree, and what the gate must say of them or of the commit that adds them."""

    files: dict[str, str]
    said: str
    message: str = ""


def core_fault(line: str, said: str) -> Fault:
    """A core module with one line that it must not have."""
    return Fault({f"{CORE}/sample.py": f'"""Sample."""\n\n{line}\n'}, said)


def rooms() -> list[str]:
    """The packages of the core that the import contract names."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [f"{CORE}/{name}" for layer in layers for name in layer.split(" | ")]


PROMISE = {
    "name": "sample",
    "promise": "It works.",
    "said_in": "README.md",
    "decided_in": "host/x.py",
    "payer": "tests/x/test_x.py::test_x",
    "fault": {"replace": "x = 1", "by": "x = 2"},
}
PROMISED = {
    "README.md": "It works.\n",
    "host/x.py": "x = 1\n",
    "tests/x/test_x.py": (
        "def test_x():\n    pass\n\n\n@pytest.mark.deep\ndef test_deep():\n    pass\n"
    ),
    "tests/promises/x.yml": json.dumps([PROMISE]),
}


def promise_fault(changed: dict[str, object], said: str) -> Fault:
    """A map with one row of which this is wrong."""
    return Fault({**PROMISED, "tests/promises/x.yml": json.dumps([{**PROMISE, **changed}])}, said)


FAULTS: dict[str, list[Fault]] = {
    "ruff-check": [
        Fault({f"{COLLECTION}/host/factory/sample.py": '"""Sample."""\n\nimport os\n'}, "F401"),
        core_fault("import time\n\nSTARTED = time.time()", "TID251"),
        core_fault("import datetime\n\nAT = datetime.datetime.now()", "TID251"),
        core_fault("import urllib.request\n\nOPEN = urllib.request.urlopen", "TID251"),
    ],
    "ruff-format": [Fault({f"{COLLECTION}/host/factory/sample.py": "x  =  1\n"}, "x = 1")],
    "mypy": [
        Fault(
            {f"{COLLECTION}/host/factory/sample.py": "def f(x):\n    return x\n"}, "no-untyped-def"
        ),
        Fault({"tests/sample/test_x.py": "def test_x() -> None:\n    len(1)\n"}, "arg-type"),
    ],
    "import-contract": [
        core_fault("import subprocess", "module_utils.sample -> subprocess"),
        core_fault("from http import client", "module_utils.sample -> http"),
        core_fault("import ansible.release", "module_utils.sample -> ansible"),
        core_fault("import factory", "module_utils.sample -> factory"),
        Fault(
            {f"{CORE}/base/sample.py": "from ..host import __doc__ as said\n"}, "base.sample -> "
        ),
        Fault({f"{CORE}/lanes/sample.py": "from .. import runners\n"}, "lanes.sample -> "),
        Fault(
            {
                f"{CORE}/base/one.py": "from . import two\n",
                f"{CORE}/base/two.py": "from . import one\n",
            },
            "No circle in the core BROKEN",
        ),
        Fault(
            {
                f"{COLLECTION}/host/factory/commands/one.py": "from factory.commands import two\n",
                f"{COLLECTION}/host/factory/commands/two.py": "",
            },
            "factory.commands.one -> factory.commands.two",
        ),
        Fault(
            {f"{COLLECTION}/host/factory/sample.py": "import ansible.release\n"},
            "factory.sample -> ansible",
        ),
    ],
    "yamllint": [Fault({f"{COLLECTION}/playbooks/x.yml": "---\na: yes\n"}, "truthy")],
    "ansible-lint": [
        Fault(
            {
                f"{COLLECTION}/playbooks/site.yml": "---\n- name: Sample\n"
                "  ansible.builtin.import_playbook: x.yml\n",
                f"{COLLECTION}/playbooks/x.yml": "---\n- name: Sample\n  hosts: all\n  tasks:\n"
                "    - name: Sample\n      ansible.builtin.command:\n        cmd: id\n",
            },
            "no-changed-when",
        ),
        Fault(
            {
                f"{COLLECTION}/roles/sample/tasks/main.yml": "---\n- name: Sample\n"
                "  ansible.builtin.command:\n    cmd: id\n"
            },
            "no-changed-when",
        ),
    ],
    "ansible-lint-scenarios": [
        Fault(
            {
                "molecule/x/converge.yml": "---\n- name: Sample\n  hosts: all\n  tasks:\n"
                "    - name: Sample\n      ansible.builtin.command:\n        cmd: id\n"
            },
            "no-changed-when",
        )
    ],
    "promises": [
        promise_fault(
            {"payer": "tests/x/test_x.py::test_y"}, "there is no tests/x/test_x.py::test_y"
        ),
        promise_fault({"payer": "tests/x/test_x.py::test_deep"}, "but runs in deep only"),
        promise_fault({"decided_in": "host/gone.py"}, "there is no "),
        promise_fault({"fault": {"replace": "x = 2", "by": "x = 3"}}, "stands 0 times"),
        promise_fault({"fault": {"replace": "x = 1", "by": "x = 1"}}, "its fault changes nothing"),
        promise_fault({"owner": "me"}, "unknown key owner"),
        promise_fault({}, "docs/promises.md is not what"),
        Fault(
            {**PROMISED, "molecule/x/test_x.py": "def test_z():\n    pass\n"},
            "molecule/x/test_x.py::test_z starts containers and shows no promise",
        ),
    ],
    "shellcheck": [
        Fault({"script/x": "#!/usr/bin/env bash\nrm $1\n"}, "SC2086"),
        Fault({"deep/down/x": "#!/bin/sh\n[[ a = b ]]\n"}, "SC3010"),
        Fault({"script/lib.sh": "# shellcheck shell=bash\necho $1\n"}, "SC2086"),
    ],
    "hadolint": [Fault({"images/x/Dockerfile": "FROM debian:latest\n"}, "DL3007")],
    "zizmor": [
        Fault(
            {
                ".github/workflows/x.yml": WORKFLOW.format(
                    step='run: echo "${{ github.event.pull_request.title }}"'
                )
            },
            "template-injection",
        )
    ],
    "changelog": [
        Fault({f"{COLLECTION}/changelogs/fragments/1.yml": "---\nfixes: none\n"}, "fixes")
    ],
    "role-layout": [
        Fault(
            {f"{COLLECTION}/roles/sample/tasks/main.yml": "---\n"},
            f"{COLLECTION}/roles/sample/README.md is missing",
        ),
        Fault({f"{COLLECTION}/roles/sample/README.md": "x\n" * 61}, "longer than 60 lines"),
        Fault(
            {f"{COLLECTION}/roles/sample/tasks/main.yml": "---\n"},
            "no molecule/*/converge.yml uses it",
        ),
        Fault(
            {f"{COLLECTION}/roles/sample/tasks/main.yml": "---\n"},
            "option sample_state with choices",
        ),
        Fault(
            {f"{COLLECTION}/roles/sample/tasks/main.yml": "---\n"},
            f"{COLLECTION}/roles/sample: no playbook uses it",
        ),
        Fault(
            {f"{COLLECTION}/roles/Sample/tasks/main.yml": "---\n"},
            f"{COLLECTION}/roles/Sample: such a name cannot",
        ),
        Fault(
            {
                f"{COLLECTION}/roles/sample/tasks/main.yml": "---\n- aina.factory.worktree_reap: {}\n"
                "- ansible.builtin.copy: {}\n"
            },
            "option sample_state with choices",
        ),
        Fault(
            {
                f"{COLLECTION}/roles/sample/tasks/main.yml": "---\n- aina.factory.worktree_reap: {}\n",
                f"{COLLECTION}/roles/sample/meta/argument_specs.yml": SPEC.replace(
                    "sample_limit_bytes", "sample_state"
                ),
            },
            "sample_state means nothing",
        ),
    ],
    "role-interface": [
        Fault({SPEC_PATH: SPEC.replace("sample_limit", "limit")}, "limit_bytes must begin with"),
        Fault({SPEC_PATH: SPEC.replace("default: 10", "no_log: false")}, "needs a default, or"),
    ],
    "role-variables-read": [
        Fault(
            {SPEC_PATH: SPEC, f"{ROLE}/defaults/main.yml": "---\nsample_limit_bytes: 10\n"},
            "nothing reads the option sample_limit_bytes",
        ),
        Fault(
            {
                SPEC_PATH: SPEC,
                f"{ROLE}/vars/main.yml": "---\n__sample_x: '{{ sample_limit_bytes }}'\n",
            },
            "nothing reads __sample_x",
        ),
    ],
    "declarations": [
        Fault(
            {
                SPEC_PATH: SPEC,
                f"{ROLE}/defaults/main.yml": "---\n# How much is kept.\nsample_limit_bytes: 11\n",
            },
            f"{ROLE}/defaults/main.yml is not what",
        ),
        Fault(
            {SPEC_PATH: SPEC + SECTION.format(option="# nothing") + END},
            f"{ROLE}/meta/argument_specs.yml is not what",
        ),
        Fault({SPEC_PATH: SPEC + SECTION.format(option="sample_x: {}")}, "section reap lacks"),
        Fault({SPEC_PATH: SPEC}, "docs/settings/reap.md is not what"),
        Fault(
            {
                f"{COLLECTION}/playbooks/site.yml": "---\n- name: Sample\n"
                "  ansible.builtin.import_playbook: x.yml\n",
                f"{COLLECTION}/playbooks/x.yml": "---\n- hosts: all\n"
                "  roles: [{role: aina.factory.sample}]\n",
                SPEC_PATH: SPEC + "      sample_state: {type: str, choices: [present, absent]}\n",
            },
            "playbooks/uninstall.yml is not what",
        ),
        Fault(
            {
                SPEC_PATH: SPEC + SECTION.format(option="# nothing") + END,
                f"{ROLE}/vars/main/configuration.yml": "---\n__sample_settings:\n  reap: {}\n",
            },
            f"{ROLE}/vars/main/configuration.yml is not what",
        ),
    ],
    "role-independence": [
        Fault(
            {
                f"{COLLECTION}/roles/sample/meta/argument_specs.yml": SPEC,
                f"{COLLECTION}/roles/other/tasks/main.yml": "---\n- when: sample_limit_bytes > 1\n",
            },
            "sample_limit_bytes belongs to role sample",
        )
    ],
    "role-files-used": [
        Fault(
            {f"{COLLECTION}/roles/sample/tasks/assert.yml": "---\n"}, "tasks/assert.yml is imported"
        ),
        Fault(
            {f"{COLLECTION}/roles/sample/templates/a.conf.j2": "x\n"},
            "a.conf.j2 is mentioned nowhere",
        ),
        Fault({f"{COLLECTION}/roles/sample/files/d/a.conf": "x\n"}, "a.conf is mentioned nowhere"),
        Fault(
            {f"{COLLECTION}/roles/sample/handlers/main.yml": "---\n- name: Restart x\n"},
            "Restart x",
        ),
    ],
    "playbooks-are-lists": [
        Fault(
            {f"{COLLECTION}/playbooks/x.yml": "---\n- hosts: all\n  tasks: []\n"},
            "tasks has no place",
        ),
        Fault(
            {f"{COLLECTION}/playbooks/x.yml": "---\n- hosts: all\n  roles: [sample]\n"}, "only tag"
        ),
        Fault(
            {f"{COLLECTION}/playbooks/x.yml": "---\n- hosts: all\n  roles: [sample]\n"},
            "a play begins with",
        ),
        Fault(
            {f"{COLLECTION}/playbooks/x.yml": "---\n- hosts: all\n"}, "gather_facts must be false"
        ),
        Fault(
            {
                f"{COLLECTION}/playbooks/x.yml": "---\n- hosts: all\n  tasks:\n"
                "    - aina.factory.new_inventory:\n    - ansible.builtin.debug:\n"
            },
            "one task",
        ),
    ],
    "lock": [
        Fault({"requirements.lock": "ansible-core==2.19.14 \\\n    --hash=sha256:0\n"}, "missing"),
        Fault({"requirements.lock": "ruff==0.17.6\n"}, "ruff==0.17.6 has no hash"),
        Fault(
            {
                "pyproject.toml": '[project]\ndependencies = ["docker>=7"]\n'
                "[dependency-groups]\ntest = []\n"
            },
            "docker>=7 must name one exact version",
        ),
    ],
    "collections": [
        Fault(
            {
                "requirements.yml": "---\ncollections:\n  - name: community.docker\n"
                "    version: 0.0.1\n",
                f"{COLLECTION}/playbooks/x.yml": "---\n- community.docker.docker_network:\n",
            },
            "community.docker 0.0.1, installed",
        ),
        Fault(
            {f"{COLLECTION}/playbooks/x.yml": "---\n- community.crypto.acme_account:\n"},
            "community.crypto is used",
        ),
    ],
    "collections-wheel": [
        Fault(
            {
                "requirements.yml": "---\ncollections:\n  - name: community.docker\n"
                "    version: 0.0.1\n"
            },
            "community.docker 0.0.1, but the wheel carries",
        )
    ],
    "actions": [
        Fault(
            {".github/workflows/x.yml": WORKFLOW.format(step="uses: actions/checkout@v7")},
            "actions/checkout@v7 must be pinned",
        ),
        Fault(
            {".github/workflows/x.yml": WORKFLOW.format(step=f"uses: actions/x@{'0' * 40}")},
            "needs its version as a comment",
        ),
    ],
    "links": [
        Fault({"README.md": "[x](docs/x.md)\n"}, "docs/x.md leads to no file"),
        Fault({"README.md": "# A b\n[ok](#a-b) [x](#c)\n"}, "#c leads to no heading"),
    ],
    "commits": [
        Fault({}, "more than 60 characters", f"Say {'much ' * 12}\n\nBecause.\n"),
        Fault({}, "begin with a capital letter", "fix: say why\n\nBecause.\n"),
        Fault({}, "have no full stop", "Say why.\n\nBecause.\n"),
        Fault({}, "the body must say why", "Say nothing\n"),
    ],
    "executable-bits": [
        Fault({"script/x": "#!/usr/bin/env bash\n"}, "script/x begins with #! but"),
    ],
    "no-machine-traces": [
        Fault({"README.md": f"see {ROOT}/x\n"}, "README.md:1: the path of this checkout"),
        Fault({"README.md": "from pypi" + ".org\n"}, "the host of a package registry"),
    ],
    "module-index": [
        Fault(
            {
                MODULE: DOCUMENTED.format(description="Sample.", statement="module.exit_json()"),
                f"{COLLECTION}/README.md": "# Sample\n",
            },
            "| `aina.factory.sample` | module | Sample |",
        )
    ],
    "antsibull-docs": [
        Fault(
            {
                MODULE: DOCUMENTED.format(
                    description="See O(missing).", statement="module.exit_json()"
                )
            },
            "missing",
        )
    ],
    **{
        name: [
            Fault(
                {MODULE: DOCUMENTED.format(description="Sample.", statement="assert module")},
                "no-assert",
            )
        ]
        for name in sanity.GATES
    },
}


# Fast enough for a look at the whole project, too slow for one fault each.
HEAVY = {"ansible-lint", "mypy", *SLOW}


def marks(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if name in HEAVY else []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the project's settings and nothing else."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name in SETTINGS:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    for package in (
        f"{COLLECTION}/host/factory",
        f"{COLLECTION}/host/factory/commands",
        CORE,
        *rooms(),
    ):
        (tmp_path / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / package / "__init__.py").touch()
    return tmp_path


def commit(tree: Path, message: str) -> None:
    """Commit what is there on a branch beside a main one that has nothing of it."""
    who = ("-c", "user.name=sample", "-c", "user.email=sample@localhost")
    for words in (
        ("checkout", "--quiet", "--orphan", "main"),
        (*who, "commit", "--quiet", "--allow-empty", "--message=Begin"),
        ("checkout", "--quiet", "-b", "work"),
        (*who, "commit", "--quiet", "--allow-empty", f"--message={message}"),
    ):
        subprocess.run(["git", *words], cwd=tree, check=True)


def plant(tree: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_every_gate_has_a_fault() -> None:
    assert FAULTS.keys() == ALL.keys()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param(name, fault, id=f"{name}-{number}", marks=marks(name))
        for name, faults in FAULTS.items()
        for number, fault in enumerate(faults, start=1)
    ],
)
def test_a_gate_objects_to_its_fault(name: str, fault: Fault, tree: Path) -> None:
    plant(tree, fault.files)
    if fault.message:
        commit(tree, fault.message)

    report = ALL[name](tree)

    assert fault.said in report


def test_commits_that_the_main_branch_has_are_not_judged_again(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(tree, "say nothing.")
    assert FAST["commits"](tree) != ""

    monkeypatch.setenv("AINA_PUSH_BASE", "HEAD")
    assert FAST["commits"](tree) == ""
    # What a service names where a branch is new.
    monkeypatch.setenv("AINA_PUSH_BASE", "0" * 40)
    assert FAST["commits"](tree) != ""


def test_an_executable_without_a_shebang_is_seen(tree: Path) -> None:
    plant(tree, {"docs/x.md": "x\n"})
    (tree / "docs/x.md").chmod(0o755)

    assert "docs/x.md is executable" in FAST["executable-bits"](tree)


def test_deleted_and_ignored_files_are_not_looked_at(tree: Path) -> None:
    plant(tree, {"gone.md": "[x](missing.md)\n", ".cache/x.md": "[x](missing.md)\n", "a.md": "\n"})
    subprocess.run(["git", "add", "gone.md"], cwd=tree, check=True)
    (tree / "gone.md").unlink()

    assert FAST["links"](tree) == ""


def test_what_was_judged_is_judged_again_only_after_a_change_or_a_fault(tree: Path) -> None:
    judged = []

    @remembered(lambda root: files(root, "docs"))
    def sample(root: Path) -> str:
        judged.append((root / "docs/x.md").read_text())
        return judged[-1] if "fault" in judged[-1] else ""

    said = []
    for content in ("well", "well", "a fault", "a fault", "well"):
        plant(tree, {"docs/x.md": content})
        said.append(sample(tree))
    plant(tree, {"requirements.lock": "ruff==1\n", "docs/y.md": ""})
    said.append(sample(tree))

    assert said == ["", "", "a fault", "a fault", "", ""]
    # It came back to what it was, without a run; with another tool it is another matter.
    assert judged == ["well", "a fault", "a fault", "well"]
