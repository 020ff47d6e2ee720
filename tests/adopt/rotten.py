"""Make of a blank host the server that grew by hand: run on the host, as root.

What an owner told of his server, in small: a checkout with 108 worktrees, scripts under
/srv/aina/ops with their crontab, a pause that is a comment, a runner under nohup, agents'
homes, 321 workspaces of which some lack git, an engine with two images and default settings.
"""

from __future__ import annotations

import json
import os
import pwd
import ssl
import subprocess
import urllib.request
from pathlib import Path

OPS = Path("/srv/aina/ops")
HOME = Path("/home/ali")
RUNNER = Path("/srv/aina/actions-runner")
WORKSPACES_COUNT = 321

CRONTAB = """\
*/15 * * * * /srv/aina/ops/watchdog.sh >/dev/null 2>&1
# PAUSED 2026-06-30 (Ali: save GitHub CI minutes): 15 */2 * * * bash /srv/aina/ops/coo-ops-loop.sh >> /srv/ops.log 2>&1
*/10 * * * * bash /srv/aina/ops/release-marshal.sh >/dev/null 2>&1
0 4 * * * bash /srv/aina/ops/janitor.sh >/dev/null 2>&1
# mine
30 6 * * 1 /home/ali/bin/weekly-report.sh
"""
WATCHDOG = """\
#!/usr/bin/env bash
alerts=()
# disk-high alert - catch bloat before it hits 99% (added 2026-06-30)
_dp=; [ "0" -ge 85 ] && alerts+=("disk-high:%")
date >>/srv/aina/ops/watchdog-ran
"""
RUN_SH = """\
#!/bin/sh
cd "$(dirname "$0")" || exit
bin/Runner.Listener run "$@"
"""
REPOSITORY = "ainative-academy/aina-academy"
# Of the authority of the simulated GitHub, which the host does not know before it is converged.
AUTHORITY = Path("/srv/aina/github.pem")


def sh(command: str) -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], check=True)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def packages() -> None:
    sh(
        "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "
        "--no-install-recommends docker.io docker-cli git openssh-server openssh-client "
        "busybox-static sudo >/dev/null"
    )


def user() -> None:
    sh("useradd --create-home --shell /bin/bash ali && usermod --append --groups docker ali")
    write(Path("/etc/sudoers.d/ali"), "ali ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    sh(
        "install -d -o ali -g ali -m 0700 /home/ali/.ssh && "
        "su ali -c \"ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519\" && "
        "su ali -c 'cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys && chmod 0600 ~/.ssh/authorized_keys'"
    )


def ops() -> None:
    write(OPS / "watchdog.sh", WATCHDOG, 0o755)
    for name in ("release-marshal", "janitor", "coo-ops-loop"):
        write(OPS / f"{name}.sh", f"#!/usr/bin/env bash\ndate >>/srv/aina/ops/{name}-ran\n", 0o755)
    for name in ("growth-distribution", "chat-experience", "verify-backlog"):
        write(OPS / f"codex-{name}.log", f"{name}: a line of a lane\n" * 4000)
    write(OPS / "lanes/lane-merge-train-v2.md", "# Land the thirty\n")
    status = '{"alerts": "board:blocked=1 errored=0 todo=66 done=134"}\n'
    write(OPS / "WATCHDOG-STATUS.json", status)
    write(HOME / "bin/weekly-report.sh", "#!/bin/sh\ntrue\n", 0o755)


def agents() -> None:
    write(HOME / ".codex/config.toml", 'model = "gpt-5.5"\n')
    write(HOME / ".codex/auth.json", '{"tokens": "not for anybody"}\n', 0o600)
    write(HOME / ".codex/sessions/2026/06/30/rollout-1.jsonl", "{}\n" * 500)
    write(HOME / ".local/share/pnpm/store/v3/files/00/aa", "a package\n")
    paperclip = HOME / ".paperclip/instances/default"
    write(paperclip / "config.json", "{}\n")
    write(paperclip / "secrets/master.key", "0123\n", 0o600)
    write(paperclip / "companies/7d58/codex-home/config.toml", 'model = "frozen"\n')
    for number in range(WORKSPACES_COUNT):
        workspace = paperclip / f"workspaces/agent-{number:03}"
        write(workspace / "notes.md", f"work of agent {number}\n")
        if number % 40:  # every fortieth lacks git, and its agent fails for ever
            write(workspace / ".git/HEAD", "ref: refs/heads/main\n")
            write(workspace / ".git/config", "[core]\n\tbare = false\n")
            (workspace / ".git/objects").mkdir()
            (workspace / ".git/refs").mkdir()


def fetch(path: str, method: str = "GET") -> bytes:
    headers = {"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}"}
    url = os.environ["GITHUB_URL"] + path
    request = urllib.request.Request(url, None, headers, method=method)  # noqa: S310 - https always
    context = ssl.create_default_context(cafile=str(AUTHORITY))
    with urllib.request.urlopen(request, context=context) as answer:  # noqa: S310 - as above
        return bytes(answer.read())


def runner() -> None:
    """Set a runner up as GitHub's page says: unpack, configure."""
    name = "actions-runner-linux-x64-2.330.0.tar.gz"
    RUNNER.mkdir(parents=True)
    (RUNNER / name).write_bytes(fetch(f"/actions/runner/releases/download/v2.330.0/{name}"))
    sh(f"tar --extract --directory {RUNNER} --file {RUNNER}/{name}")
    write(RUNNER / "run.sh", RUN_SH, 0o755)
    asked = fetch(f"/api/v3/repos/{REPOSITORY}/actions/runners/registration-token", "POST")
    words = (
        f"--unattended --name vds-runner --labels vds --url {os.environ['GITHUB_URL']}/{REPOSITORY}"
    )
    subprocess.run(
        [str(RUNNER / "bin/Runner.Listener"), "configure", *words.split()],
        env={
            "PATH": os.environ["PATH"],
            "SSL_CERT_FILE": str(AUTHORITY),
            "ACTIONS_RUNNER_INPUT_TOKEN": json.loads(asked)["token"],
        },
        check=True,
    )
    write(RUNNER / "_work/aina-academy/aina-academy/README.md", "a job's checkout\n")


def start() -> None:
    sh("crontab -u ali - <<'EOF'\n" + CRONTAB + "EOF\n")
    sh("systemctl enable --now docker cron ssh >/dev/null 2>&1")
    sh(
        "mkdir -p /root/one/bin && cp /bin/busybox /root/one/bin/sh && "
        "tar -C /root/one -c . | docker import - alpine:3.20 >/dev/null && "
        "tar -C /root/one -c . | docker import - hello-world:latest >/dev/null && rm -r /root/one"
    )
    sh("chown -R ali:ali /home/ali /srv/aina")
    # As it was: no unit, no restart, gone with the next boot.
    sh(
        f"su ali -c 'SSL_CERT_FILE={AUTHORITY} setsid nohup {RUNNER}/run.sh "
        f">{RUNNER}/nohup.out 2>&1 </dev/null &'"
    )


if __name__ == "__main__":
    os.umask(0o022)
    packages()
    user()
    ops()
    agents()
    runner()
    sh(
        "cd /opt/aina-factory-demo && python3 -m corpus --target /srv/corpus --worktrees 108 --owner ali >/dev/null"
    )
    Path("/srv/repos").mkdir()
    # The checkout and its worktrees know each other by absolute paths, so they stay and are linked.
    Path("/srv/repos/aina-academy").symlink_to("/srv/corpus/repository")
    (HOME / "agent-workspaces").symlink_to("/srv/corpus/agent-workspaces")
    start()
    print(pwd.getpwnam("ali").pw_uid)
