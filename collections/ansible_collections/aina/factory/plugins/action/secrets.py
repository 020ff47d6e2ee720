# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask for the secrets that an inventory needs; see the module of the same name for its documentation."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from ansible import constants
from ansible.errors import AnsibleError, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.module_utils.urls import open_url
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.base import ansible_effects, files, settings
from ..module_utils.base.configuration import ConfigurationError, Section
from ..module_utils.base.github import rights
from ..module_utils.base.github.rights import Rights
from ..module_utils.base.github.settings import GitHub
from ..module_utils.base.ports import Completed
from ..module_utils.site import needed_secrets, stores
from ..module_utils.site.needed_secrets import Needed

display = Display()
# Ansible's own, which repeat what the inventory says.
_NOT_SAID = ("groups", "hostvars", "vars", "ansible_facts", "omit")


class ActionModule(ActionBase):
    """Works on the control node alone."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"keep_with", "renew"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask for what is missing, and look what each may do; nothing of it is part of the answer."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = task_vars or {}
        renew = set(self._task.args.get("renew") or ())
        try:
            host, secrets, values = self._needed(given)
            unknown = renew - {item.variable for item in secrets}
            if unknown:
                names = ", ".join(item.variable for item in secrets) or "none"
                raise AnsibleError(
                    f"no secret is called {', '.join(sorted(unknown))}; there are: {names}"
                )
            store = self._store(given)
            actions, waiting, refused = self._ask(host, secrets, values, renew, store)
        except (ConfigurationError, stores.StoreError) as error:
            return {**result, "failed": True, "msg": str(error)}
        result |= {"changed": bool(actions), "actions": actions, "waiting": waiting}
        if refused:
            lines = "".join(f"\n- {item}" for item in refused)
            return {
                **result,
                "failed": True,
                "msg": f"secrets that do not do what is needed:{lines}",
            }
        return result

    # --- what the inventory needs ----------------------------------------------

    def _needed(self, given: Mapping[str, Any]) -> tuple[str, list[Needed], dict[str, str]]:
        host = str(given["inventory_hostname"])
        raw = {
            name: value
            for name, value in given["hostvars"].raw_get(host).items()
            if name not in _NOT_SAID
        }
        names = needed_secrets.mentioned(raw)
        if not names:
            return host, [], {}
        marked = {**given, **{name: needed_secrets.marker(name) for name in names}}
        templar = self._templar.copy_with_new_env(available_variables=marked)

        def said(name: str, default: Any) -> Any:
            return templar.template(raw[name]) if name in raw else default

        github = settings.read(GitHub, Section(said("factory_github", {}), "factory_github"))
        secrets = needed_secrets.describe(
            names,
            needed_secrets.files(names, said("host_baseline_secrets", [])),
            github,
            said("factory_projects", []),
            said("lanes_credentials", {}),
        )
        values = {name: str(self._templar.template(raw[name])) for name in names if name in raw}
        sealed = sorted(name for name, text in values.items() if text.startswith("ENC["))
        if sealed:
            raise stores.StoreError(f"{sealed[0]} is still encrypted: {needed_secrets.PLUGIN}")
        self._github = github
        return host, secrets, {name: text for name, text in values.items() if text}

    # --- where they are kept ------------------------------------------------------

    def _store(self, given: Mapping[str, Any]) -> stores.Store:
        group = "factory" if "factory" in given["groups"] else "all"
        place = Path(str(given["inventory_dir"])) / "group_vars" / group
        how = self._task.args.get("keep_with") or ""
        vault: Any = getattr(self._loader, "_vault", None)
        if not how:
            how = "vault" if (place / "secrets.yml").exists() else "sops"
        if how == "vault":
            if not getattr(vault, "secrets", None):
                raise stores.StoreError(
                    "ansible-vault needs its password: --vault-password-file FILE, or --ask-vault-pass"
                )
            path = place / "secrets.yml"
            return stores.Vault(
                path, vault.encrypt, vault.decrypt, yaml.safe_load, yaml.safe_dump, _write
            )
        if "community.sops.sops" not in constants.config.get_config_value(
            "VARIABLE_PLUGINS_ENABLED"
        ):
            raise stores.StoreError(
                f"Ansible would not read *.sops.yml: {needed_secrets.PLUGIN}; or keep them with"
                " ansible-vault: -e secrets_with=vault"
            )
        return stores.Sops(
            place / "secrets.sops.yml", _run, shutil.which, os.environ, _write, _os_release()
        )

    # --- the conversation -----------------------------------------------------------

    def _ask(
        self,
        host: str,
        secrets: Sequence[Needed],
        values: Mapping[str, str],
        renew: set[str],
        store: stores.Store,
    ) -> tuple[list[str], list[dict[str, str]], list[str]]:
        actions, waiting, refused = [], [], []
        missing = [
            item for item in secrets if item.variable not in values or item.variable in renew
        ]
        if missing and not self._task.check_mode:
            actions += store.prepare()
        for secret in secrets:
            text = values.get(secret.variable, "")
            if secret in missing:
                display.display(f"\n{_title(secret)}")
                text = "" if self._task.check_mode else self._answer(secret)
                if text:
                    store.put(secret.variable, text)
                    actions.append(f"keep {secret.variable} in {store.path}")
            if not text and secret.variable not in values:
                what = ", ".join(secret.used_by) or secret.variable
                remedy = "run this again once you have it"
                waiting.append({"what": what, "for": secret.variable, "remedy": remedy})
            elif secret not in missing:
                for verdict in self._verdicts(secret, text, ""):
                    display.display(f"{secret.variable}: {verdict}")
                    if verdict.missing or (verdict.problem and not verdict.unknown):
                        refused.append(f"{secret.variable}: {verdict}")
        return actions, waiting, refused

    def _answer(self, secret: Needed) -> str:
        """Return the secret, asked for until it does what is needed; empty when it is left out."""
        while True:
            try:
                question = f"{secret.variable}, not shown; @FILE reads a file; empty leaves it out:"
                said = display.prompt_until(question, private=True)
            except AnsiblePromptNoninteractive:
                display.display("nobody can be asked here: it is left out")
                return ""
            except AnsiblePromptInterrupt:
                raise AnsibleError("stopped; what was entered before is kept") from None
            text, source = said.decode(errors="replace").strip(), ""
            if text.startswith("@"):
                source = str(Path(text[1:]).expanduser())
                try:
                    text = Path(source).read_text(encoding="utf-8").strip()
                except (OSError, ValueError):
                    display.display("that file cannot be read")
                    continue
            if not text:
                return ""
            problem = needed_secrets.judged(text, secret)
            if problem:
                display.display(f"not taken: {problem}")
                continue
            verdicts = list(self._verdicts(secret, text, source))
            for verdict in verdicts:
                display.display(str(verdict))
            if not any(item.missing or (item.problem and not item.unknown) for item in verdicts):
                if any(item.unknown for item in verdicts):
                    display.display(
                        "taken, though GitHub could not be asked for all of it: run this again later"
                    )
                return text
            display.display("not taken: give one that may do all of this, or leave it out")

    def _verdicts(self, secret: Needed, text: str, source: str) -> Iterator[Rights]:
        fetch = ansible_effects.fetcher(open_url, "")
        for repository, permissions in secret.permissions.items():
            if secret.login is not None and secret.login.method == "github_app":
                if not source:
                    # Without a file of it nothing here can sign; the server can.
                    yield Rights(
                        f"GitHub App {secret.login.app_id}", unknown=("whether the key is its own",)
                    )
                    continue
                yield rights.of_app(
                    rights.with_key(secret.login, source),
                    self._github.api_url,
                    repository,
                    permissions,
                    run=_run,
                    fetch=fetch,
                    now=time.time,
                )
            elif secret.login is not None:
                yield rights.of_token(text, self._github.api_url, repository, permissions, fetch)


def _title(secret: Needed) -> str:
    used = f", for {', '.join(secret.used_by)}" if secret.used_by else ""
    place = f" -> {needed_secrets.DIRECTORY}/{secret.file}" if secret.file else ""
    return f"{secret.variable}{place}{used}" + (f"\n  {secret.wanted}" if secret.wanted else "")


def _os_release() -> str:
    with suppress(OSError):
        return Path("/etc/os-release").read_text(encoding="utf-8", errors="replace")
    return ""


def _run(
    argv: Sequence[str | bytes],
    *,
    cwd: str | bytes | None = None,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> Completed:
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            input=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, **(environment or {})},
            timeout=timeout_seconds or 60,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{argv[0]!r} was still running after {timeout_seconds} s") from error
    return Completed(done.returncode, done.stdout, done.stderr)


def _write(path: Path, data: bytes, mode: int, *, replace: bool) -> None:
    """Put a file in its place whole; what is kept here is encrypted, or a key of nobody else's."""
    path.parent.mkdir(mode=0o700 if mode == 0o600 else 0o755, parents=True, exist_ok=True)
    files.write(path, data, mode, exclusive=not replace)
