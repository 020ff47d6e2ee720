"""Secrets in an inventory, by ansible-vault and by SOPS with age: read, refused, rotated, never shown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
SECRET = "Xq7-not-for-anybody"  # noqa: S105 - opens nothing
NEXT = "Zr9-the-one-after"

# What takes a secret to a host: the same variable whichever way it is kept.
WIRING = {
    "host_baseline_secrets": [{"name": "github-token", "content": "{{ secret_github_token }}"}]
}


@dataclass(frozen=True)
class Inventory:
    """An inventory in a directory of its own, read under the project's settings."""

    path: Path
    environment: dict[str, str]

    def tool(
        self, *argv: str, stdin: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(TOOLS / argv[0]), *argv[1:]],
            cwd=self.path,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    def read(self, *options: str, check: bool = True) -> str:
        """Return what a converge would put on the server, or the error."""
        words = [
            "ansible",
            "server",
            "-i",
            str(self.path / "hosts.yml"),
            "-m",
            "ansible.builtin.debug",
        ]
        words += ["-a", "var=host_baseline_secrets[0].content", "-c", "local", *options]
        done = self.tool(*words, check=check)
        return done.stdout + done.stderr

    def files(self) -> str:
        return "".join(
            path.read_text()
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and path.suffix == ".yml"
        )


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    group = tmp_path / "inventory/group_vars/factory"
    group.mkdir(parents=True)
    (tmp_path / "inventory/hosts.yml").write_text("factory: {hosts: {server: {}}}\n")
    (group / "host_baseline.yml").write_text(yaml.safe_dump(WIRING))
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANSIBLE_", "SOPS_"))
    }
    environment = {
        **kept,
        "PATH": f"{TOOLS}{os.pathsep}{kept['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "LC_ALL": "C.UTF-8",
    }
    return Inventory(tmp_path / "inventory", environment)


# --- ansible-vault -------------------------------------------------------------


def vault(inventory: Inventory, name: str, password: str) -> Path:
    path = inventory.path.parent / name
    path.write_text(password + "\n")
    path.chmod(0o600)
    return path


def test_a_vault_opens_for_its_password_alone_and_forgets_the_one_before(
    inventory: Inventory,
) -> None:
    old, new = vault(inventory, "old", "open sesame"), vault(inventory, "new", "please")
    secrets = inventory.path / "group_vars/factory/secrets.yml"
    secrets.write_text(yaml.safe_dump({"secret_github_token": SECRET}))
    inventory.tool("ansible-vault", "encrypt", "--vault-password-file", str(old), str(secrets))
    assert SECRET not in inventory.files()
    assert SECRET in inventory.read("--vault-password-file", str(old))

    rekey = ["ansible-vault", "rekey", "--vault-password-file", str(old)]
    inventory.tool(*rekey, "--new-vault-password-file", str(new), str(secrets))

    assert SECRET in inventory.read("--vault-password-file", str(new))
    for options in ([], ["--vault-password-file", str(old)]):
        refused = inventory.read(*options, check=False)
        assert SECRET not in refused
        assert "vault" in refused.lower() or "decrypt" in refused.lower()


# --- SOPS and age --------------------------------------------------------------

needs_sops = pytest.mark.skipif(
    shutil.which("sops", path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}") is None,
    reason="no sops program for this machine: the package that carries it is for Linux on x86-64; "
    "install sops to run this test",
)


@dataclass(frozen=True)
class Key:
    """An age key: who may decrypt, and the file that does."""

    recipient: str
    path: Path


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Key, Key]:
    pyrage = pytest.importorskip("pyrage", reason="pyrage makes the age keys of this test")
    found = []
    for name in ("ali", "rana"):
        identity = pyrage.x25519.Identity.generate()
        path = tmp_path / f"{name}.key"
        path.write_text(f"{identity}\n")
        path.chmod(0o600)
        found.append(Key(str(identity.to_public()), path))
    return found[0], found[1]


def with_key(inventory: Inventory, key: Key) -> Inventory:
    return Inventory(inventory.path, {**inventory.environment, "SOPS_AGE_KEY_FILE": str(key.path)})


def sops(inventory: Inventory, *recipients: Key) -> Path:
    rules = {
        "creation_rules": [
            {"path_regex": r"\.sops\.yml$", "age": ",".join(key.recipient for key in recipients)}
        ]
    }
    (inventory.path.parent / ".sops.yaml").write_text(yaml.safe_dump(rules))
    return inventory.path / "group_vars/factory/secrets.sops.yml"


@needs_sops
def test_sops_opens_for_each_recipient_alone_and_a_recipient_comes_and_goes(
    inventory: Inventory, keys: tuple[Key, Key]
) -> None:
    ali, rana = keys
    his, hers = with_key(inventory, ali), with_key(inventory, rana)
    secrets = sops(inventory, ali)
    secrets.write_text(yaml.safe_dump({"secret_github_token": SECRET}))
    inventory.tool("sops", "encrypt", "--in-place", str(secrets))
    assert SECRET not in inventory.files()
    # The names stay readable, so that a difference shows what changed.
    assert "secret_github_token" in secrets.read_text()
    assert SECRET in his.read()
    assert SECRET not in hers.read(check=False)

    # What follows is between SOPS and its file: Ansible is asked no more.
    sops(inventory, ali, rana)
    his.tool("sops", "updatekeys", "--yes", str(secrets))
    assert SECRET in opened(hers, secrets)

    sops(inventory, rana)
    hers.tool("sops", "updatekeys", "--yes", str(secrets))
    # Whoever is gone knows the old value and the old data key: both change.
    hers.tool("sops", "set", str(secrets), '["secret_github_token"]', json.dumps(NEXT))
    hers.tool("sops", "rotate", "--in-place", str(secrets))
    assert NEXT in opened(hers, secrets)
    for stranger in (his, inventory):
        assert NEXT not in opened(stranger, secrets, check=False)


def opened(inventory: Inventory, secrets: Path, *, check: bool = True) -> str:
    done = inventory.tool("sops", "decrypt", str(secrets), check=check)
    assert check or done.returncode != 0
    return done.stdout
