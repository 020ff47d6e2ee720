"""script/secrets, and its playbook in an installed collection: asked hidden, looked at, never in plain text."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from simulator import Simulator
from terminal import Sat, sit

from factory.core.base.github.rights import (
    NEEDED,
    together,
)
from factory.core.base.github.settings import GitHub, Login
from factory.core.base.ports import Completed
from factory.core.site import (
    needed_secrets,
    new_inventory,
    stores,
)

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
REPOSITORY = "example/academy"
SCENARIO = {"users": [{"login": "ali"}], "repositories": [{"name": REPOSITORY}]}
RIGHTS = together(NEEDED[name] for name in ("lanes", "marshal", "reap", "runners"))
MODEL_KEY, NEXT_KEY = "sk-nothing-opens-by-this", "sk-nor-by-this"
TOKEN_ASKED, KEY_ASKED = "secret_github_token, not shown", "secret_codex_key, not shown"
# As the package's: without words the key, with -y its public half.
AGE_KEYGEN = """\
#!{python}
import sys
from pyrage import x25519
if sys.argv[1:2] == ["-y"]:
    text = open(sys.argv[2]).read()
    print(x25519.Identity.from_str(text.strip().splitlines()[-1]).to_public())
else:
    key = x25519.Identity.generate()
    print(f"# public key: {{key.to_public()}}\\n{{key}}")
"""


@dataclass(frozen=True)
class Site:
    """An inventory as script/new-inventory writes it, and the machine of whoever begins."""

    place: Path
    environment: Mapping[str, str]

    @property
    def inventory(self) -> Path:
        return self.place / "inventory"

    def command(self, *options: str) -> list[str]:
        program = str(TOOLS / "ansible-playbook")
        playbook = str(ROOT / "playbooks/secrets.yml")
        return [program, "-i", str(self.inventory), *options, playbook]

    def answer(
        self, *answers: tuple[str, str], options: tuple[str, ...] = (), kill_at: str = ""
    ) -> Sat:
        return sit(
            self.command(*options),
            answers,
            environment=self.environment,
            cwd=self.place,
            kill_at=kill_at,
        )

    def alone(self, *options: str) -> tuple[int, str]:
        """Run it where nobody can be asked."""
        return self.run(*self.command(*options))

    def run(self, *argv: str) -> tuple[int, str]:
        # What Ansible writes down of the command under test; of others it may show what they print.
        log = {} if argv[0].endswith("ansible-playbook") else {"ANSIBLE_LOG_PATH": ""}
        done = subprocess.run(
            argv,
            env={**self.environment, **log},
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def reaches_the_host(self, *options: str) -> dict[str, str]:
        """Return what a converge would put on the host."""
        words = ["-i", str(self.inventory), "-m", "ansible.builtin.debug", "-c", "local", "server"]
        words += [
            "-a",
            "msg={{ host_baseline_secrets | items2dict(key_name='name', value_name='content') | to_json }}",
        ]
        status, said = self.run(str(TOOLS / "ansible"), *words, *options)
        assert status == 0, said
        return dict(json.loads(yaml.safe_load(said.partition("=>")[2])["msg"]))

    def plain(self, *secrets: str) -> list[str]:
        """Return the files of the machine in which a secret can be read."""
        return [
            str(path)
            for path in self.place.rglob("*")
            if path.is_file() and any(item.encode() in path.read_bytes() for item in secrets)
        ]


@pytest.fixture(scope="module")
def github() -> Iterator[Simulator]:
    with Simulator(SCENARIO) as simulator:
        yield simulator


@pytest.fixture
def site(tmp_path: Path, github: Simulator) -> Site:
    programs = tmp_path / "bin"
    programs.mkdir()
    if shutil.which("age-keygen") is None:
        pytest.importorskip("pyrage", reason="age-keygen, or pyrage, makes the keys of this test")
        (programs / "age-keygen").write_text(AGE_KEYGEN.format(python=sys.executable))
        (programs / "age-keygen").chmod(0o755)
    answers = {"host": "server", "user": "ali", "repository": REPOSITORY}
    said = {
        name: new_inventory.read(name, answers.get(name, "")) for name in new_inventory.QUESTIONS
    }
    document = yaml.safe_load(new_inventory.render(said))
    document["factory"]["vars"]["factory_github"]["api_url"] = github.addresses()["api_url"]
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/hosts.yml").write_text(yaml.safe_dump(document))
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    kept = {
        name: text
        for name, text in os.environ.items()
        if name[:8] != "ANSIBLE_" and name[:5] != "SOPS_"
    }
    environment = {
        **kept,
        "PATH": f"{programs}{os.pathsep}{TOOLS}{os.pathsep}{kept['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_LOG_PATH": str(tmp_path / "log"),
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "SSL_CERT_FILE": github.addresses()["ca_file"],
        "LC_ALL": "C.UTF-8",
    }
    environment.pop("XDG_CONFIG_HOME", None)
    return Site(tmp_path, environment)


def token(github: Simulator, permissions: dict[str, str] = RIGHTS) -> str:
    return github.world.add_token(github.world.account("ali"), permissions=permissions).value


needs_sops = pytest.mark.skipif(
    shutil.which("sops", path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}") is None,
    reason="no sops program for this machine; install sops to run this test",
)


@pytest.mark.slow
@needs_sops
def test_secrets_are_asked_for_hidden_looked_at_and_kept_encrypted(
    site: Site, github: Simulator
) -> None:
    weak = token(github, {**RIGHTS, "administration": "read"})
    good = token(github)

    sat = site.answer(
        (KEY_ASKED, MODEL_KEY),
        (TOKEN_ASKED, weak),
        (f"lacks administration=write(?s:.*){TOKEN_ASKED}", good),
        options=("-vvv",),
    )

    assert sat.status == 0, sat.shown
    assert "may do all that is needed" in sat.shown
    assert "for lanes, marshal, runners" in sat.shown
    for secret in (weak, good, MODEL_KEY):
        assert secret not in sat.shown
    assert site.plain(weak, good, MODEL_KEY) == []
    assert site.reaches_the_host() == {"github-token": good, "codex-key": MODEL_KEY}
    key = site.place / "home/.config/sops/age/keys.txt"
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)

    # Nothing is asked twice; one that changes is asked for alone, and the others' lines stay.
    kept = site.inventory / "group_vars/factory/secrets.sops.yml"
    before = yaml.safe_load(kept.read_text())
    status, said = site.alone()
    assert (status, "may do all that is needed" in said) == (0, True), said
    renew = ("-e", '{"secrets_renew": ["secret_codex_key"]}')
    assert site.answer((KEY_ASKED, NEXT_KEY), options=renew).status == 0
    after = yaml.safe_load(kept.read_text())
    assert after["secret_github_token"] == before["secret_github_token"]
    assert site.reaches_the_host()["codex-key"] == NEXT_KEY
    assert site.plain(good, MODEL_KEY, NEXT_KEY) == []


@pytest.mark.slow
@needs_sops
def test_a_kill_at_any_question_leaves_no_plain_text_and_is_gone_on_from(
    site: Site, github: Simulator
) -> None:
    good = token(github)
    site.answer((KEY_ASKED, MODEL_KEY), kill_at=TOKEN_ASKED)
    assert site.plain(MODEL_KEY) == []
    # What was entered before is kept.
    assert read(site).keys() == {"secret_codex_key", "sops"}
    site.answer((TOKEN_ASKED, good), kill_at="may do all")
    assert site.plain(MODEL_KEY, good) == []

    asked = [] if "secret_github_token" in read(site) else [(TOKEN_ASKED, good)]
    assert site.answer(*asked).status == 0

    assert site.reaches_the_host() == {"github-token": good, "codex-key": MODEL_KEY}
    assert site.plain(MODEL_KEY, good) == []


def read(site: Site) -> dict[str, Any]:
    path = site.inventory / "group_vars/factory/secrets.sops.yml"
    return dict(yaml.safe_load(path.read_text()))


@pytest.mark.slow
def test_ansible_vault_keeps_them_as_well(site: Site, github: Simulator) -> None:
    good = token(github)
    password = site.place / "password"
    password.write_text("open sesame\n")
    vault = ("--vault-password-file", str(password))
    status, said = site.alone("-e", "secrets_with=vault")
    assert (status != 0, "--ask-vault-pass" in said) == (True, True)

    keep = (*vault, "-e", "secrets_with=vault")
    assert site.answer((KEY_ASKED, MODEL_KEY), (TOKEN_ASKED, ""), options=keep).status == 0
    assert site.answer((TOKEN_ASKED, good), options=vault).status == 0

    assert site.reaches_the_host(*vault) == {"github-token": good, "codex-key": MODEL_KEY}
    assert site.plain(MODEL_KEY, good) == []


@pytest.mark.slow
@needs_sops
def test_where_nobody_can_be_asked_it_says_what_waits_for_what(site: Site) -> None:
    status, said = site.alone()

    assert status == 0, said
    assert "lanes, marshal, runners, reap waits for secret_github_token" in said
    assert "the model of codex waits for secret_codex_key" in said


# --- what is missing on this machine ------------------------------------------------


def sops(tmp_path: Path, *present: str, os_release: str = "") -> stores.Sops:
    def run(argv: Any, **_: Any) -> Completed:
        raise AssertionError(argv)

    def write(path: Path, data: bytes, mode: int, *, replace: bool) -> None:
        raise AssertionError(path)

    path = tmp_path / "group_vars/factory/secrets.sops.yml"
    which = {name: f"/usr/bin/{name}" for name in present}.get
    return stores.Sops(path, run, which, {"HOME": str(tmp_path)}, write, os_release)


@pytest.mark.parametrize(
    ("os_release", "how"),
    [
        ("ID=debian\n", "sudo apt install age"),
        ("ID=linuxmint\nID_LIKE=ubuntu\n", "sudo apt install age"),
        ("ID=fedora\n", "sudo dnf install age"),
        ("", "brew install age"),
    ],
)
def test_a_missing_program_is_named_with_the_package_and_with_what_does_without(
    tmp_path: Path, os_release: str, how: str
) -> None:
    with pytest.raises(stores.StoreError, match=r"sops is not installed here.*--with vault"):
        sops(tmp_path).prepare()

    with pytest.raises(stores.StoreError, match="age-keygen is not installed here") as caught:
        sops(tmp_path, "sops", os_release=os_release).prepare()
    assert how in str(caught.value)
    assert "--with vault" in str(caught.value)


# --- which secrets, and what for -----------------------------------------------------


def test_every_inventory_of_this_repository_says_which_secrets_it_needs() -> None:
    variables: dict[str, Any] = {}
    for path in sorted((ROOT / "inventory/production/group_vars/factory").glob("*.yml")):
        variables |= yaml.safe_load(path.read_text())
    names = needed_secrets.mentioned(variables)

    assert names == {
        *("secret_runner_token", "secret_github_token", "secret_codex_key", "secret_marshal_token"),
        *("vault_watchdog_notify_urls", "vault_watchdog_dead_man_urls"),
    }


def test_a_login_of_its_own_makes_a_secret_that_needs_less() -> None:
    github = GitHub(
        login=Login(method="token_file", token_file="/s/github-token"),  # noqa: S106 - a path
        logins={"runners": Login(method="github_app", app_id=7, app_key_file="/s/runners-key")},
    )
    projects = [
        {"repository": "o/a", "lanes": {}, "runner": {}},
        {"repository": "o/b", "merge": {}},
    ]
    files = {"secret_a": "github-token", "secret_b": "runners-key", "secret_c": "codex-key"}

    shared, key, model = needed_secrets.describe(
        files, files, github, projects, {"codex": "/s/codex-key"}
    )

    assert set(shared.permissions) == {"o/a", "o/b"}
    assert "administration" not in shared.permissions["o/a"]
    assert key.permissions == {"o/a": together([NEEDED["runners"]])}
    assert "the private key of GitHub App 7" in key.wanted
    assert (model.used_by, model.permissions) == (("the model of codex",), {})
    assert "begins with -----BEGIN" in needed_secrets.judged("ghp_x", key)
    assert needed_secrets.judged("ghp_a\nghp_b", shared) == "it has several lines"
