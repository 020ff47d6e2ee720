"""States of a host's ways in, drawn: how one comes, what others have set up, what is declared."""

from __future__ import annotations

import random
from typing import Any

COUNT = 72
RECORD = "/var/lib/aina-factory/login-users.json"
ADMIN, OTHER = "10.77.0.2", "10.77.0.9"
STANDARD = {
    "KbdInteractiveAuthentication": "no",
    "MaxAuthTries": "6",
    "PasswordAuthentication": "no",
    "PermitEmptyPasswords": "no",
    "PermitRootLogin": "prohibit-password",
    "X11Forwarding": "no",
}
PORTS = [([22], 22), ([2222], 2222), ([22, 2222], 2222), ([22, 2222], 22)]
SSHD: list[dict[str, str]] = [
    {},
    {},
    {"include": "bottom"},
    {"bottom": f"Match Address {ADMIN}\n    PasswordAuthentication yes\n    AllowUsers ali\n"},
    {"bottom": "Match User ops\n    ForceCommand /bin/false\n"},
    {"top": f"AllowUsers ali@{ADMIN} ops\n"},
    {"top": "AllowGroups admins\n", "group": "admins"},
    {"drop_in": "AuthorizedKeysFile /etc/keys/%u\n", "keys": "/etc/keys"},
    {"drop_in": "DenyUsers eve\nPubkeyAuthentication yes\n"},
    {"top": "UsePAM yes\nAuthenticationMethods publickey\n"},
    {"top": "PermitUserEnvironment no\nStrictModes no\n"},
    {"pending": "DenyUsers ali\n"},
    {"pending": "AllowGroups nobody-is-in-it\n"},
    {"pending": "Port 2200\n"},
    {"pending": f"Match Address {ADMIN}\n    AllowUsers nobody-else\nMatch all\n"},
]
ACCOUNTS: list[dict[str, str]] = [{}, {}, {"home": "/data/ali"}, {"shell": "/bin/sh"}]
# Rules of others; PORT is the one by which the run comes.
UFW: list[tuple[list[str], bool]] = [
    ([], False),
    ([], False),
    (["allow PORT/tcp"], True),
    (["allow PORT/tcp comment 'mine'", "deny 25"], True),
    (["limit PORT/tcp"], True),
    ([f"deny from {OTHER}", "allow PORT"], True),
    (["allow 443/tcp", f"allow from {ADMIN} to any port PORT proto tcp"], True),
    (["allow in on ways0"], True),
    (["allow OpenSSH", "allow 2222/tcp"], True),
    (["default allow incoming", "deny 3306/tcp"], True),
    (["allow PORT/tcp", "reject 8080/tcp comment 'closed'"], False),
    (["deny PORT/tcp"], False),
    ([f"deny from {ADMIN}"], False),
]
IPTABLES: list[list[str]] = [
    [],
    [],
    [],
    ["-A INPUT -p tcp --dport PORT -j ACCEPT"],
    [
        "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-A INPUT -p tcp --dport PORT -j ACCEPT",
        "-P INPUT DROP",
    ],
    ["-A INPUT -s 192.0.2.7 -j DROP"],
]
# Dormant until ufw is enabled, and nobody looks there.
UNSEEN = [
    "",
    "",
    "",
    "-A ufw-before-input -p tcp --dport PORT -j DROP",
    f"-A ufw-before-input -s {ADMIN} -m conntrack --ctstate NEW -j DROP",
]
BOTH = [{"port": "22"}, {"port": "2222"}]
ALLOWED: list[list[dict[str, Any]]] = [
    BOTH,
    [*BOTH, {"port": "443"}, {"port": "60000:61000", "protocol": "udp"}],
    [{"port": "22", "sources": ["10.77.0.0/24"]}, {"port": "2222", "sources": ["10.77.0.0/24"]}],
    [{"port": "22"}],
    [{"port": "PORT"}],
    [{"port": "PORT", "sources": [ADMIN]}],
    [{"port": "PORT", "sources": ["203.0.113.0/24"]}],
    [{"port": "PORT", "sources": [OTHER]}],
    [{"port": "2000:3000"}, {"port": "22", "sources": [ADMIN, "any"]}],
    [],
]
SETTINGS: list[dict[str, str]] = [
    {},
    {"MaxAuthTries": "3", "LoginGraceTime": "30"},
    {"AllowUsers": "ali ops"},
    {"AllowUsers": "ops"},
    {"AllowUsers": f"ali@{OTHER} ops"},
    {"AllowGroups": "sudo"},
    {"DenyUsers": "a*"},
    {"DenyGroups": "ali"},
    {"Port": "2222"},
    {"ListenAddress": "127.0.0.1"},
    {"AuthenticationMethods": "publickey,password"},
    {"PubkeyAcceptedAlgorithms": "rsa-sha2-512"},
    {"AuthorizedKeysFile": "/etc/ssh/keys/%u"},
    {"MaxSessions": "0"},
    {"UsePAM": "no"},
    {"PubkeyAuthentication": "no"},
]
USERS: list[dict[str, Any]] = [
    {},
    {"groups": ["users"]},
    {"shell": "/bin/bash"},
    {"shell": "/usr/sbin/nologin"},
    {"shell": "/bin/zsh-that-is-not-there"},
    {"home": "/home/elsewhere"},
    {"groups": ["users"], "shell": "/bin/sh"},
]


def _filled(value: Any, port: int) -> Any:
    if isinstance(value, str):
        return value.replace("PORT", str(port))
    if isinstance(value, list):
        return [_filled(item, port) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, port) for key, item in value.items()}
    return value


def state(number: int) -> dict[str, Any]:
    """Return the state of this number: one that lets people in, and one or two doubtful things."""
    chance = random.Random(f"ways in {number}")  # noqa: S311 - no secret
    doubtful = ("sshd", "ufw", "unseen", "allowed", "settings", "user")
    doubts = {doubtful[number % len(doubtful)], chance.choice([*doubtful, "", ""])}

    def pick(name: str, axis: list[Any], sound: int) -> Any:
        """Return a value of the axis; the first ``sound`` of them let people in."""
        return (
            axis[number // len(doubtful) % len(axis)]
            if name in doubts
            else chance.choice(axis[:sound])
        )

    ports, came = chance.choice(PORTS)
    sshd = dict(pick("sshd", SSHD, 11))
    account = {
        **chance.choice(ACCOUNTS),
        **{key: sshd.pop(key) for key in ("group", "keys") if key in sshd},
    }
    socket = chance.random() < 0.3 and "pending" not in sshd
    rules, is_on = pick("ufw", UFW, 11)
    firewall = {
        "state": "present",
        "allowed": pick("allowed", ALLOWED, 3),
        "published": [],
        "trusted_interfaces": [],
        "guard_containers": False,
    }
    if chance.random() < 0.1:
        firewall["trusted_interfaces"] = ["ways0"]
    settings = {**STANDARD, **pick("settings", SETTINGS, 3)} if chance.random() < 0.7 else {}
    user = {"name": "ali", "home": "", "shell": "", "groups": [], **pick("user", USERS, 3)}
    allowed = [{"protocol": "tcp", "sources": [], **item} for item in firewall["allowed"]]
    has_firewall = chance.random() < 0.8
    firewall["allowed"] = allowed
    if not has_firewall:
        firewall["state"] = "absent"
    unseen = pick("unseen", UNSEEN, 1) if not is_on and has_firewall else ""
    administrators = chance.choice([["ali"], ["ali", "ops"], []])
    made = {
        "name": f"state {number}",
        "ports": ports,
        "came": came,
        "socket": socket,
        "listen": chance.choice(["any", "any", "address"]),
        "sshd": sshd,
        "account": account,
        "ufw": rules,
        "ufw_on": is_on,
        "before_rules": unseen,
        "iptables": chance.choice(IPTABLES),
        "ops_is_there": chance.random() < 0.4,
        "converge": [
            ["login_users", {"users": [user], "record_path": RECORD}],
            ["ssh_server", {"settings": settings, "administrators": administrators}],
            ["firewall", firewall],
        ],
        "leave": [
            ["login_users", {"users": [], "record_path": RECORD}],
            ["ssh_server", {"settings": {}, "administrators": administrators}],
            ["firewall", {**firewall, "state": "absent"}],
        ],
    }
    filled: dict[str, Any] = _filled(made, came)
    return filled
