"""The service of a native runner, as text; pure."""

from __future__ import annotations

from collections.abc import Iterable

from ..jobs.render import quote
from . import exits, layout
from .layout import Places
from .settings import Instance, RunnersSettings

HEADER = "# Managed by aina.factory.gh_runners (role: gh_actions_runner); edits are lost.\n"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STOP_SECONDS = 90
# Restart=always with a pause: the application ends with 0 when it was removed at the server.
_RESTART_SECONDS = 30

_ALWAYS = (
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectProc=invisible",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "KeyringMode=private",
    "RemoveIPC=yes",
    "InaccessiblePaths=-/etc/aina-factory -/var/lib/aina-factory",
)
# Each of them stops sudo in a workflow from working.
_STRICT = (
    "NoNewPrivileges=yes",
    "RestrictSUIDSGID=yes",
    "CapabilityBoundingSet=",
    "SystemCallArchitectures=native",
)


def render(instance: Instance, settings: RunnersSettings, places: Places) -> str:
    tree, home = places.tree(instance.name), places.home(instance.name)
    user = layout.user(instance.name)
    hardening = [*_ALWAYS, *(_STRICT if instance.strict else ())]
    hardening += (
        ["SupplementaryGroups=docker"]
        if instance.docker_socket_reason
        else ["InaccessiblePaths=-/run/docker.sock -/run/containerd"]
    )
    lines = [
        "[Unit]",
        f"Description=GitHub Actions runner {instance.name} of {instance.target}",
        "Wants=network-online.target",
        "After=network-online.target docker.service",
        # Without a registration there is nothing to run; the healer brings one.
        f"ConditionPathExists={tree}/.runner",
        "StartLimitIntervalSec=600",
        "StartLimitBurst=10",
        f"OnFailure={layout.HEAL_SERVICE}",
        "",
        "[Service]",
        f"User={user}",
        f"Group={user}",
        f"WorkingDirectory={tree}",
        *(
            f"Environment={quote(f'{n}={v}', expands_variables=False)}"
            for n, v in _environment(instance, settings, places)
        ),
        # Without the firewall rules it does not start.
        "ExecStartPre=+/usr/local/bin/factory runner network",
        f"ExecStart={tree}/bin/Runner.Listener run --startuptype service",
        "Restart=always",
        f"RestartSec={_RESTART_SECONDS}",
        f"RestartPreventExitStatus={exits.OUTDATED_CODE}",
        "KillMode=mixed",
        "KillSignal=SIGINT",
        f"TimeoutStopSec={STOP_SECONDS}",
        "OOMPolicy=continue",
        "ManagedOOMPreference=avoid",
        "UMask=0077",
        f"SyslogIdentifier={layout.NATIVE_PREFIX}{instance.name}",
        "LogRateLimitIntervalSec=30s",
        "LogRateLimitBurst=3000",
        f"Slice={layout.SLICE}",
        f"CPUQuota={instance.cpus * 100}%",
        f"MemoryMax={instance.memory_mib}M",
        "MemorySwapMax=0",
        f"TasksMax={instance.tasks_count}",
        f"LimitFSIZE={instance.disk_mib}M",
        "LimitCORE=0",
        f"ReadWritePaths={tree} {home}",
        *hardening,
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return HEADER + "\n".join(lines) + "\n"


def _environment(
    instance: Instance, settings: RunnersSettings, places: Places
) -> Iterable[tuple[str, str]]:
    # Everything here is seen by every job: nothing secret may ever be.
    yield "PATH", PATH
    yield "HOME", str(places.home(instance.name))
    yield "LANG", "C.UTF-8"
    yield "ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1"
    yield "ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT", "1"
    yield "RUNNER_LOGRETENTION", "7"
    yield "WORKER_LOGRETENTION", "7"
    for moment in ("STARTED", "COMPLETED"):
        yield f"ACTIONS_RUNNER_HOOK_JOB_{moment}", str(places.root / "hooks/clean-workspace.sh")
    if instance.job_container_required:
        yield "ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER", "true"
    if settings.ca_file:
        for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE"):
            yield name, settings.ca_file
    yield from instance.environment.items()
