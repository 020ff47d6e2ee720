"""Where an inventory keeps its secrets: encrypted by SOPS with age, or by ansible-vault.

No plain text is ever in a file or in an argument: a secret goes through a pipe, and what is written is encrypted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..base.errors import FactoryError
from ..base.ports import Completed, Run

_VAULT_INSTEAD = (
    "or keep the secrets with ansible-vault, which needs nothing: script/secrets NAME --with vault"
)
_PACKAGES = (
    # IDs of os-release, what installs age.
    (r"debian|ubuntu", "sudo apt install age"),
    (r"fedora|rhel|centos", "sudo dnf install age"),
    (r"arch", "sudo pacman -S age"),
    (r"alpine", "sudo apk add age"),
    (r"suse", "sudo zypper install age"),
)
_SOPS_AT = "https://github.com/getsops/sops/releases (a .deb and an .rpm are there)"
_RECIPIENT = re.compile(r"\bage1[0-9a-z]{58}\b")


class StoreError(FactoryError):
    """A secret cannot be kept; says what to do."""


class Write(Protocol):
    """Put a whole file in its place; without ``replace`` one that is there stays, as an error."""

    def __call__(self, path: Path, data: bytes, mode: int, *, replace: bool) -> None:
        """Write ``data``."""


class Store(Protocol):
    """One encrypted file of variables."""

    path: Path

    def prepare(self) -> list[str]:
        """Make what encryption needs; return what was done."""

    def put(self, variable: str, text: str) -> None:
        """Keep a secret under its variable's name, in the place of an older one."""


@dataclass
class Sops:
    """A file that SOPS encrypts, names readable, values for everybody who may decrypt."""

    path: Path
    run: Run
    which: Callable[[str], str | None]
    environment: Mapping[str, str]
    write: Write
    os_release: str = ""

    def prepare(self) -> list[str]:
        """Make a key and say whom to encrypt for, unless both is there."""
        if not self.which("sops"):
            raise StoreError(
                f"sops is not installed here: get it from {_SOPS_AT}; {_VAULT_INSTEAD}"
            )
        if self._rules() is not None or self.path.exists():
            return []
        key, done = self._key(), []
        if not self.which("age-keygen"):
            raise StoreError(
                f"age-keygen is not installed here: {self._package()}; {_VAULT_INSTEAD}"
            )
        if not key.exists():
            made = self._checked(self.run(["age-keygen"]), "age-keygen")
            self._put(key, made, 0o600)
            done.append(f"make your key {key}: keep a copy where this machine is not")
        public = self._checked(self.run(["age-keygen", "-y", str(key)]), "age-keygen").decode()
        recipients = ",".join(_RECIPIENT.findall(public))
        if not recipients:
            raise StoreError(f"{key} holds no key of age: name another file by SOPS_AGE_KEY_FILE")
        rules = self.path.parents[2] / ".sops.yaml"
        text = f"creation_rules:\n  - path_regex: \\.sops\\.yml$\n    age: {recipients}\n"
        self._put(rules, text.encode(), 0o644)
        return [*done, f"write {rules}: who may decrypt"]

    def put(self, variable: str, text: str) -> None:
        """Encrypt one value; the others stay as they are."""
        value = json.dumps(text).encode()
        if not self.path.exists():
            rules = self._rules()
            words = ["sops", *(["--config", str(rules)] if rules else []), "encrypt"]
            words += ["--filename-override", str(self.path), "--input-type", "yaml"]
            plain = f"{json.dumps(variable)}: ".encode() + value + b"\n"
            made = self.run([*words, "--output-type", "yaml", "/dev/stdin"], stdin=plain)
            self._put(self.path, self._checked(made, "sops"), 0o644)
            return
        copy = self.path.with_name(f".{self.path.name}.new.sops.yml")
        self.write(copy, self.path.read_bytes(), 0o644, replace=True)
        try:
            words = ["sops", "set", "--value-stdin", str(copy), json.dumps([variable])]
            self._checked(self.run(words, stdin=value), "sops")
            self.write(self.path, copy.read_bytes(), 0o644, replace=True)
        finally:
            copy.unlink()

    def _rules(self) -> Path | None:
        """Return the file that says for whom this place is encrypted: the nearest, as SOPS looks."""
        found = (directory / ".sops.yaml" for directory in self.path.parents)
        return next((path for path in found if path.is_file()), None)

    def _key(self) -> Path:
        """Return where SOPS looks for a key of age."""
        named = self.environment.get("SOPS_AGE_KEY_FILE")
        if named:
            return Path(named)
        home = Path(self.environment.get("HOME") or "/root")
        library = home / "Library/Application Support"
        base = library if library.is_dir() else home / ".config"
        return Path(self.environment.get("XDG_CONFIG_HOME") or base) / "sops/age/keys.txt"

    def _package(self) -> str:
        like = " ".join(re.findall(r"^ID(?:_LIKE)?=(.*)$", self.os_release, re.MULTILINE))
        how = next((words for pattern, words in _PACKAGES if re.search(pattern, like)), "")
        return (
            how
            or "Debian and Ubuntu: sudo apt install age; Fedora: sudo dnf install age; macOS: brew install age"
        )

    def _put(self, path: Path, data: bytes, mode: int) -> None:
        try:
            self.write(path, data, mode, replace=False)
        except FileExistsError:
            raise StoreError(f"{path} has appeared meanwhile: run this again") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error

    def _checked(self, done: Completed, name: str) -> bytes:
        if not done.ok:
            # What it says names files and keys, never a value.
            raise StoreError(
                f"{name} did not do it: {done.stderr.decode(errors='replace').strip()[-500:]}"
            )
        return done.stdout


@dataclass
class Vault:
    """A file that ansible-vault encrypts as a whole; ``load`` and ``dump`` are YAML's."""

    path: Path
    encrypt: Callable[[str], bytes]
    decrypt: Callable[[bytes], bytes]
    load: Callable[[str], Any]
    dump: Callable[[Any], str]
    write: Write

    def prepare(self) -> list[str]:
        """The password is all it needs, and was given."""
        return []

    def put(self, variable: str, text: str) -> None:
        """Encrypt the whole anew; a name that is new is added below, so that comments stay."""
        plain = self.decrypt(self.path.read_bytes()).decode() if self.path.exists() else ""
        values = (self.load(plain) if plain else None) or {}
        if not isinstance(values, dict):
            raise StoreError(f"{self.path} is no mapping of variables")
        if variable in values:
            plain = self.dump({**values, variable: text})
        else:
            plain = f"{plain.rstrip()}\n".lstrip() + f"{json.dumps(variable)}: {json.dumps(text)}\n"
        self.write(self.path, self.encrypt(plain), 0o644, replace=True)
