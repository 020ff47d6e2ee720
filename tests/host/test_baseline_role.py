"""What the role host_baseline makes of options that add to standard ones."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "collections/ansible_collections/aina/factory/roles/host_baseline"
GIVEN = {
    "host_baseline_packages": ["mosh"],
    "host_baseline_restarts_by_hand_never": ["^postgres"],
    "host_baseline_ssh_settings": {"AllowUsers": "ali", "MaxAuthTries": "5"},
}


def test_what_is_named_is_added_and_keeps_what_is_safe() -> None:
    names = [f"__{name}" for name in GIVEN]
    argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "--one-line"]
    argv += ["--module-name=ansible.builtin.debug", "--extra-vars", f"@{ROLE}/defaults/main.yml"]
    argv += ["--extra-vars", f"@{ROLE}/vars/main.yml", "--extra-vars", json.dumps(GIVEN)]
    argv += ["--args", f"msg={{{{ [{', '.join(names)}] | to_json | b64encode }}}}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr

    said = done.stdout.partition('"msg": "')[2].partition('"')[0]
    packages, units, ssh = json.loads(base64.b64decode(said))
    assert {"git", "mosh"} <= set(packages)
    assert {"^docker", "^postgres"} <= set(units)
    assert (ssh["PasswordAuthentication"], ssh["AllowUsers"]) == ("no", "ali")
    assert ssh["MaxAuthTries"] == "5"
    # An agent that is forwarded is at the hands of whoever is root; a tunnel to the status page is not.
    assert (ssh["AllowAgentForwarding"], ssh["AllowTcpForwarding"]) == ("no", "local")
