"""Bring a host into drawn states, change it over SSH as a run does, and log in again: run there, as root.

What decides is no model: a real client in a network namespace of its own, the real server, the
real firewall. Reads states from the standard input, one JSON document each line, and answers likewise.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIBRARY = "/usr/local/lib/aina-factory"
HOST, ADMIN, OTHER = "10.77.0.1", "10.77.0.2", "10.77.0.9"
SPACE = "ways-in"
KEPT = Path("/root/ways-in")
ETC = ("ssh", "ufw", "default/ufw", "sudoers.d", "passwd", "shadow", "group", "gshadow")
PEOPLE = ("ali", "ops")
CONFIRM_SECONDS = 15
KNOCK_SECONDS = 3
SSHD = "/etc/ssh/sshd_config"
OF_RULES = {"/etc/ufw/user.rules", "/etc/ufw/user6.rules", "ufw"}
FILES = ("/etc/ssh", "/etc/ufw", "/etc/default/ufw", "/etc/sudoers.d")


def sh(script: str, *, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, input=stdin)
    if check and done.returncode:
        raise RuntimeError(f"{script}: {done.stderr}{done.stdout}")
    return done


# --- The host ---------------------------------------------------------------------------------


def prepare() -> None:
    """Make the people and the neighbour from whom they come, and keep what is there."""
    sh(f"mkdir -p {KEPT}/etc; ssh-keygen -q -t ed25519 -N '' -f {KEPT}/id <<<y >/dev/null; true")
    for name in PEOPLE:
        sh(
            f"id {name} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {name}; "
            f"install -d -m 0700 -o {name} -g {name} /home/{name}/.ssh; "
            f"install -m 0600 -o {name} -g {name} {KEPT}/id.pub /home/{name}/.ssh/authorized_keys; "
            f"echo '{name} ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/95-{name}"
        )
    sh(
        f"ip netns add {SPACE} 2>/dev/null || exit 0; ip link add ways0 type veth peer name ways1 netns {SPACE}; "
        f"ip addr add {HOST}/24 dev ways0; ip link set ways0 up; "
        f"ip -n {SPACE} addr add {ADMIN}/24 dev ways1; ip -n {SPACE} addr add {OTHER}/24 dev ways1; "
        f"ip -n {SPACE} link set ways1 up"
    )
    sh("mkdir -p /etc/ssh/sshd_config.d; rm -f /etc/ssh/sshd_config.d/10-aina-factory.conf")
    # So many logins, and so many that fail, would be taken for an attack.
    sh(
        f"grep -q PerSourcePenalties {SSHD} || sed -i '1i PerSourcePenalties no' {SSHD}; sshd -t",
        check=False,
    )
    sh(f"sshd -t || sed -i 1d {SSHD}; ufw --force disable; ufw --force reset", check=False)
    for name in ETC:
        sh(
            f"rm -rf {KEPT}/etc/{name}; mkdir -p $(dirname {KEPT}/etc/{name}); cp -a /etc/{name} {KEPT}/etc/{name}"
        )


def clean_up() -> None:
    """Leave the host as it was."""
    reset()
    for name in PEOPLE:
        sh(f"userdel --force --remove {name}; rm -f /etc/sudoers.d/95-{name}", check=False)
    sh(f"ip link del ways0; ip netns del {SPACE}; rm -rf {KEPT}", check=False)


def reset() -> None:
    sh(
        "ufw --force disable; for t in iptables ip6tables; do "
        "$t-save | grep -v -e ufw -e '^-A INPUT' | sed 's/^:INPUT DROP/:INPUT ACCEPT/' | $t-restore; done",
        check=False,
    )
    for name in ETC:
        sh(
            f"rm -rf /etc/{name}.new; cp -a {KEPT}/etc/{name} /etc/{name}.new; "
            f"rm -rf /etc/{name}; mv /etc/{name}.new /etc/{name}"
        )
    sh(
        "rm -rf /etc/systemd/system/ssh.socket.d /data/ali; "
        "rm -f /var/lib/aina-factory/firewall.json /var/lib/aina-factory/login-users.json; systemctl daemon-reload; "
        "systemctl stop ssh.socket; systemctl reset-failed ssh.service; systemctl restart ssh.service",
        check=False,
    )


def apply(state: dict[str, Any]) -> None:
    """Bring the host into this state, as its owner would have."""
    sshd, account = state["sshd"], state["account"]
    ports = "".join(f"Port {port}\n" for port in state["ports"]) if not state["socket"] else ""
    where = (
        f"ListenAddress {HOST}\nListenAddress 127.0.0.1\n" if state["listen"] == "address" else ""
    )
    text = Path(SSHD).read_text()
    include = "Include /etc/ssh/sshd_config.d/*.conf\n"
    if sshd.get("include") == "bottom":
        text = text.replace(include, "") + include
    Path(SSHD).write_text(sshd.get("top", "") + ports + where + text + sshd.get("bottom", ""))
    if sshd.get("drop_in"):
        Path("/etc/ssh/sshd_config.d/50-state.conf").write_text(sshd["drop_in"])
    if account.get("home"):
        sh(
            f"mkdir -p /data; cp -a /home/ali {account['home']}; usermod --home {account['home']} ali"
        )
    if account.get("shell"):
        sh(f"usermod --shell {account['shell']} ali")
    if account.get("group"):
        group = account["group"]
        sh(f"groupadd --force {group}; gpasswd --add ali {group}; gpasswd --add ops {group}")
    if account.get("keys"):
        keys = account["keys"]
        for name in PEOPLE:
            sh(f"install -D -m 0644 /home/{name}/.ssh/authorized_keys {keys}/{name}")
    if state["socket"]:
        listen = f"{HOST}:" if state["listen"] == "address" else ""
        lines = "".join(f"ListenStream={listen}{port}\n" for port in state["ports"])
        path = Path("/etc/systemd/system/ssh.socket.d/state.conf")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"[Socket]\nListenStream=\n{lines}")
        sh("systemctl daemon-reload; systemctl stop ssh.service; systemctl restart ssh.socket")
    else:
        sh("systemctl restart ssh.service")
    for rule in state["iptables"]:
        sh(f"iptables {rule}")
    for rule in state["ufw"]:
        sh(f"ufw {rule}")
    if state.get("before_rules"):
        path = Path("/etc/ufw/before.rules")
        path.write_text(
            path.read_text().replace(
                "# End required lines\n", f"# End required lines\n{state['before_rules']}\n", 1
            )
        )
    if state["ufw_on"]:
        sh("ufw --force enable")
    if sshd.get("pending"):
        Path(SSHD).write_text(sshd["pending"] + Path(SSHD).read_text())


def snapshot() -> dict[str, str]:
    """Return what of the ways in must be there again afterwards, to the letter."""
    found = {}
    for root in FILES:
        for path in [Path(root), *sorted(Path(root).rglob("*"))]:
            if path.is_file() and not path.name.startswith("ssh_host_"):
                status = path.stat()
                text = path.read_bytes()
                if path.name.startswith("user"):
                    # What ufw makes of its rules it writes anew whenever it is enabled.
                    text = b"".join(line for line in text.splitlines() if b"### tuple" in line)
                content = hashlib.sha256(text).hexdigest()[:12]
                found[str(path)] = f"{status.st_mode:o} {status.st_uid} {content}"
    found["ufw"] = sh("ufw status verbose; ufw show added").stdout
    found["policies"] = sh("iptables -S | grep ^-P").stdout
    found["input"] = sh("iptables -S INPUT | grep -v -e '-j ufw-'", check=False).stdout
    found["accounts"] = sh("getent passwd ali ops; id -Gn ali; id -Gn ops").stdout
    return found


def added(before: dict[str, str], after: dict[str, str]) -> set[str] | None:
    """Return the rules of ufw that are new, as it would be told them; nothing where one is gone."""
    was, found = (
        {line for line in state["ufw"].splitlines() if line.startswith("ufw ")}
        for state in (before, after)
    )
    return {line.partition(" comment ")[0] for line in found - was} if was <= found else None


# --- The people -------------------------------------------------------------------------------


def login(
    state: dict[str, Any], name: str, command: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Log in as one of the people, anew."""
    with contextlib.suppress(OSError):
        Path("/proc/net/xt_recent/DEFAULT").write_text("/\n")
    peer = ADMIN if name == "ali" else OTHER
    argv = [
        "timeout",
        "60",
        "ip",
        "netns",
        "exec",
        SPACE,
        "ssh",
        "-F",
        "none",
        "-b",
        peer,
        "-p",
        str(state["came"]),
    ]
    for option in (
        "ConnectTimeout=3",
        "BatchMode=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
    ):
        argv += ["-o", option]
    argv += ["-i", str(KEPT / "id"), f"{name}@{HOST}", command]
    return subprocess.run(argv, capture_output=True, text=True, input=stdin)


def gets_in(state: dict[str, Any], name: str) -> bool:
    for _attempt in range(3):
        if login(state, name, "sudo -n true").returncode == 0:
            return True
        time.sleep(0.5)
    return False


def run_there(state: dict[str, Any], steps: list[Any], verb: str = "step") -> dict[str, Any]:
    done = login(state, "ali", f"sudo -n python3 {KEPT}/ways_in.py {verb}", json.dumps(steps))
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        found = {"failed": f"{done.stdout}{done.stderr}"[-2000:]}
    return found


def change(state: dict[str, Any], steps: list[Any]) -> dict[str, Any]:
    """Play a run of these steps: change, confirm anew, or wait until the host has restored itself."""
    result = run_there(state, steps)
    if "token" not in result:
        return {**result, "outcome": "refused" if result.get("failed") else "unchanged"}
    answer: dict[str, Any] = {}
    for _attempt in range(40):
        answer = run_there(state, [result["token"]], "confirm")
        if answer.get("state") in {"confirmed", "restored"}:
            break
        time.sleep(1)
    return {**result, "outcome": answer.get("state", "unconfirmed"), "said": answer}


def attempt(state: dict[str, Any]) -> dict[str, Any]:
    """Return what a converge and a leaving made of this state."""
    reset()
    apply(state)
    if not gets_in(state, "ali"):
        return {"name": state["name"], "problem": "the state itself lets nobody in"}
    others = [name for name in PEOPLE if gets_in(state, name)]
    before = snapshot()
    report: dict[str, Any] = {"name": state["name"]}
    session = (
        subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                SPACE,
                "ssh",
                "-F",
                "none",
                "-b",
                OTHER,
                "-p",
                str(state["came"]),
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "LogLevel=ERROR",
                # Whom the state shuts out is not to get in later by what the run opens.
                "-o",
                f"ConnectTimeout={KNOCK_SECONDS}",
                "-i",
                str(KEPT / "id"),
                f"ops@{HOST}",
                "sleep 100",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if state.get("ops_is_there")
        else None
    )
    try:
        if session:
            time.sleep(KNOCK_SECONDS + 0.5)
        for verb in ("converge", "leave"):
            ran = change(state, state[verb])
            report[verb] = f"{ran['outcome']}: {ran.get('failed') or ran.get('at_risk') or ''}"[
                :700
            ]
            out = [name for name in (others if session else ["ali"]) if not gets_in(state, name)]
            if out:
                return {**report, "problem": f"{verb} has locked out: {', '.join(out)}"}
            after = snapshot()
            there_again = verb == "leave" or ran["outcome"] in {"refused", "restored"}
            different = sorted(
                key for key in {*before, *after} if before.get(key) != after.get(key)
            )
            if verb == "leave" and added(before, after) == {*ran.get("kept", [])}:
                # Rules that stay for somebody's sake, each of them told, are the only difference.
                different = [key for key in different if key not in OF_RULES]
            if there_again and different and ran["outcome"] != "refused":
                words = "; ".join(
                    f"{key}: {before.get(key)!r} -> {after.get(key)!r}" for key in different
                )
                return {
                    **report,
                    "problem": f"after {verb} ({ran['outcome']}) this is different: {words}"[:3000],
                }
    finally:
        if session:
            session.kill()
            session.wait()
    return report


# --- In the session of a run -------------------------------------------------------------------


def step() -> dict[str, Any]:
    """Do what the module ``sequence`` does with these steps, without Ansible."""
    from factory.core.base.ports import Completed
    from factory.core.host import steps
    from factory.core.host.steps import firewall, login_users, ssh_server

    known: dict[str, Any] = {
        "firewall": firewall,
        "login_users": login_users,
        "ssh_server": ssh_server,
    }
    os.umask(0o022)

    def run(
        argv: Any,
        *,
        environment: Any = None,
        stdin: bytes = b"",
        timeout_seconds: Any = None,
        **_more: Any,
    ) -> Completed:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            env={**os.environ, **(environment or {})},
            timeout=timeout_seconds,
        )
        return Completed(done.returncode, done.stdout, done.stderr)

    declared = [(name, options) for name, options in json.load(sys.stdin)]
    protection = steps.Protection(run, check_mode=False, seconds=CONFIRM_SECONDS)
    result: dict[str, Any] = {}
    kept: list[str] = []
    try:
        protection.begin(lambda text: None)
        for name, options in declared:
            context = steps.Context(
                run, False, lambda text: None, declared=declared, protect=protection
            )
            steps.guard(known[name], options, context)
        for name, options in declared:
            context = steps.Context(run, False, lambda text: None, protect=protection)
            kept += known[name].execute(options, context).get("kept", [])
    except steps.StepError as error:
        result["failed"] = str(error)
    told = protection.told
    if "way_back" in told:
        result["token"] = told["way_back"]["token"]
    return {**result, "kept": kept, "at_risk": told.get("at_risk", [])}


def confirm() -> dict[str, Any]:
    from factory.core.base.ports import Completed
    from factory.core.host import guard
    from factory.core.host.way_in import connection, way_back

    def run(argv: Any, **_more: Any) -> Completed:
        done = subprocess.run(argv, capture_output=True)
        return Completed(done.returncode, done.stdout, done.stderr)

    (token,) = json.load(sys.stdin)
    if way_back.taken_back():
        return {"state": "restored"}
    try:
        confirmed = way_back.confirm(
            token,
            connection.session_process(os.getpid()),
            lambda others: guard.shut(others, run, time.time()),
        )
    except way_back.WayBackError as error:
        return {"state": "not yet", "why": str(error)}
    if confirmed:
        way_back.forget(run)
    return {"state": "confirmed" if confirmed else "unknown"}


def main() -> None:
    sys.path.insert(0, LIBRARY)
    if sys.argv[1:] == ["step"]:
        print(json.dumps(step()))
    elif sys.argv[1:] == ["confirm"]:
        print(json.dumps(confirm()))
    else:
        prepare()
        shutil.copy(__file__, KEPT / "ways_in.py")
        try:
            for line in sys.stdin:
                print(json.dumps(attempt(json.loads(line))), flush=True)
        finally:
            clean_up()


if __name__ == "__main__":
    main()
