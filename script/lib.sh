# shellcheck shell=bash
# Set-up that the scripts share. Sourced, never run. Every ensure_* function is
# idempotent, cheap when nothing is to do, and survives being killed half-way.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
COLLECTION=collections/ansible_collections/aina/factory
VENV=$ROOT/.venv
CACHE=$ROOT/.cache
LOGS=$CACHE/log
# Everything that the sandbox leaves on the engine carries this name; another one gives a second sandbox.
export AINA_SANDBOX_NAME=${AINA_SANDBOX_NAME:-aina-factory}
SANDBOX_HOST=$AINA_SANDBOX_NAME-sandbox
SANDBOX_SUITE=trixie
SANDBOX_IMAGE=$AINA_SANDBOX_NAME/sandbox:$SANDBOX_SUITE
SIMULATOR_IMAGE=$AINA_SANDBOX_NAME/simulator:$SANDBOX_SUITE
# What sandbox hosts are made of in place of Debian's present release, such as ubuntu:24.04. A registry must have it.
SANDBOX_BASE=${SANDBOX_BASE:-}

cd "$ROOT"
mkdir -p "$LOGS"

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# step TITLE COMMAND...: run with its output in a log, show that it is alive, say how long it took.
step() {
  local title=$1 started=$SECONDS log status=0 pid beat=0 last_beat=0
  shift
  log=$LOGS/$(tr -c 'a-z0-9\n' - <<<"${title,,}").log
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    beat=$((SECONDS - started))
    if [[ -t 1 ]]; then
      printf '\r  … %-52s %4d s  %.60s\e[K' "$title" "$beat" "$(tail -n 1 "$log" | tr -d '\r\e')"
    elif ((beat - last_beat >= 30)); then
      last_beat=$beat
      printf '  … %-52s %4d s\n' "$title" "$beat"
    fi
  done
  wait "$pid" || status=$?
  [[ ! -t 1 ]] || printf '\r\e[K'
  if ((status)); then
    printf '  ✗ %-52s %4d s\n' "$title" $((SECONDS - started))
    tail -n 40 "$log" >&2
    fail "\"$title\" failed with status $status; the whole log is $log"
  fi
  printf '  ✓ %-52s %4d s\n' "$title" $((SECONDS - started))
}

# --- Python -----------------------------------------------------------------

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [[ -n $candidate ]] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      # Not a link of the virtual environment that may be active: that one may be rebuilt.
      "$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))'
      return
    fi
  done
  fail "no Python 3.11 or newer was found; install one (Debian and Ubuntu: apt install python3" \
    "python3-venv; macOS: brew install python) or name it: PYTHON=/path/to/python3 $0"
}

digest() { cat "$@" | cksum; }

# build_venv PYTHON DIRECTORY: a virtual environment with exactly the locked packages.
build_venv() {
  local python=$1 venv=$2
  rm -rf "$venv"
  if ! "$python" -m venv "$venv"; then
    rm -rf "$venv"
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
      apt-get update -qq && apt-get install -qq -y python3-venv
      "$python" -m venv "$venv"
    else
      fail "$python cannot make virtual environments; install its venv module" \
        "(Debian and Ubuntu: apt install python3-venv)"
    fi
  fi
  "$venv/bin/python" -m pip install --require-hashes --requirement "$ROOT/requirements.lock"
  printf '#!%s\nimport sys\n\nfrom factory.__main__ import main\n\nsys.exit(main())\n' \
    "$venv/bin/python" >"$venv/bin/factory"
  chmod 0755 "$venv/bin/factory"
}

# The collection and the factory command run from the checkout, which may have been rearranged since.
link_checkout() {
  local site paths="$ROOT/collections"$'\n'"$ROOT/$COLLECTION/host"
  for site in "$1"/lib/python3*/site-packages; do
    [[ $(cat "$site/aina_factory.pth" 2>/dev/null) == "$paths" ]] || printf '%s\n' "$paths" >"$site/aina_factory.pth"
  done
}

venv_stamp() { printf '%s %s %s' "$ROOT" "$1" "$(digest "$ROOT/requirements.lock")"; }

# ensure_venv [PYTHON DIRECTORY]
ensure_venv() {
  local python=${1:-} venv=${2:-$VENV} stamp
  [[ -n $python ]] || python=$(find_python)
  stamp=$(venv_stamp "$python")
  # The stamp is written last: an environment without it is not finished.
  if [[ $(cat "$venv/stamp" 2>/dev/null) != "$stamp" ]]; then
    step "virtual environment ${venv#"$ROOT/"}" build_venv "$python" "$venv"
    printf '%s' "$stamp" >"$venv/stamp"
  fi
  link_checkout "$venv"
}

use_venv() {
  ensure_venv
  export PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV ANSIBLE_CONFIG=$ROOT/ansible.cfg
  # ansible-core refuses to start without a UTF-8 locale.
  export LC_ALL=${AINA_LOCALE:-C.UTF-8}
}

# --- Collections ------------------------------------------------------------

install_collections() {
  local target=$1 wheel
  rm -rf "$target" "$CACHE/wheel"
  if ansible-galaxy collection install --timeout 10 -r requirements.yml -p "$target"; then
    return
  fi
  echo "Galaxy does not answer: taking the collections from the ansible package"
  python -m pip download --no-deps --only-binary :all: --require-hashes \
    --requirement collections.lock --dest "$CACHE/wheel"
  wheel=$(echo "$CACHE"/wheel/ansible-*.whl)
  rm -rf "$target"
  python - "$wheel" "$target" <<'PYTHON'
import sys
import zipfile

import yaml

wheel, target = sys.argv[1:]
with open("requirements.yml", encoding="utf-8") as file:
    wanted = [entry["name"] for entry in yaml.safe_load(file)["collections"]]
prefixes = tuple(f"ansible_collections/{name.replace('.', '/')}/" for name in wanted)
with zipfile.ZipFile(wheel) as archive:
    members = [name for name in archive.namelist() if name.startswith(prefixes)]
    archive.extractall(target, members)
PYTHON
  rm -rf "$CACHE/wheel"
}

ensure_collections() {
  local target=$VENV/collections stamp
  stamp=$(digest requirements.yml collections.lock)
  if [[ $(cat "$VENV/collections.stamp" 2>/dev/null) != "$stamp" ]]; then
    step "collections" install_collections "$target"
    printf '%s' "$stamp" >"$VENV/collections.stamp"
  fi
}

# --- What the simulator is measured against ----------------------------------

install_schemas() {
  if ! command -v npm >/dev/null; then
    if [[ $(id -u) != 0 ]] || ! is_debian_family; then
      echo "npm is needed for GitHub's published schemas (Debian and Ubuntu: apt install npm; macOS: brew install node)"
      return 1
    fi
    apt_install npm
  fi
  PYTHONPATH=tests python -m simulator.published
}

ensure_schemas() {
  local stamp
  stamp=$(digest tests/simulator/published.py)
  if [[ $(cat "$CACHE/github-schemas/stamp" 2>/dev/null) != "$stamp" ]]; then
    step "GitHub's published schemas" install_schemas
    printf '%s' "$stamp" >"$CACHE/github-schemas/stamp"
  fi
}

# --- What the status page and the alert rules are measured against -----------

# Tests that miss these two are skipped and say how to get them.
install_status_tools() {
  command -v chromium >/dev/null || apt_install chromium
  if ! command -v promtool >/dev/null && [[ ! -x $CACHE/prometheus/usr/bin/promtool ]]; then
    # Unpacked, not installed: the package would start a server.
    rm -rf "$CACHE/prometheus" && mkdir -p "$CACHE/prometheus"
    (cd "$CACHE/prometheus" && apt-get download prometheus && dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb)
  fi
}

ensure_status_tools() {
  if command -v chromium >/dev/null &&
    { command -v promtool >/dev/null || [[ -x $CACHE/prometheus/usr/bin/promtool ]]; }; then
    return
  fi
  if [[ $(id -u) != 0 ]] || ! is_debian_family; then
    return
  fi
  step "browser and promtool" install_status_tools
}

# --- Container engine -------------------------------------------------------

is_debian_family() { [[ -r /etc/os-release ]] && grep -qE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release; }

apt_install() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"
}

# Without systemd nobody has mounted what the engine needs.
mount_cgroups() {
  local controller
  grep -q ' cgroup2\? ' /proc/mounts && [[ -n $(ls /sys/fs/cgroup 2>/dev/null) ]] && {
    mountpoint -q /sys/fs/cgroup/systemd || [[ -e /sys/fs/cgroup/cgroup.controllers ]] || {
      mkdir -p /sys/fs/cgroup/systemd
      mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    }
    return
  }
  mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null && return
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  awk '!/^#/ && $4 == 1 { print $1 }' /proc/cgroups | while read -r controller; do
    mkdir -p "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" || rmdir "/sys/fs/cgroup/$controller"
  done
  mkdir -p /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
}

launch_dockerd() {
  local pid log=$LOGS/dockerd.log second
  pid=$(cat /var/run/docker.pid 2>/dev/null || true)
  if [[ -n $pid && $(cat "/proc/$pid/comm" 2>/dev/null) != dockerd ]]; then
    rm -f /var/run/docker.pid
  fi
  (
    ulimit -n 1048576 2>/dev/null || true
    exec setsid dockerd >"$log" 2>&1 </dev/null
  ) &
  for second in {1..60}; do
    docker info >/dev/null 2>&1 && return
    kill -0 $! 2>/dev/null || break
    sleep 1
  done
  echo "dockerd did not answer within ${second} s:"
  tail -n 20 "$log"
  return 1
}

start_engine() {
  if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    apt_install ca-certificates iptables docker.io
    # Debian 13 has split the client off.
    command -v docker >/dev/null || apt_install docker-cli
  fi
  if [[ -d /run/systemd/system ]]; then
    systemctl enable --now docker
    return
  fi
  mount_cgroups
  launch_dockerd && return
  if grep -qi iptables "$LOGS/dockerd.log" && command -v iptables-legacy >/dev/null; then
    echo "trying again with the legacy iptables backend"
    update-alternatives --set iptables /usr/sbin/iptables-legacy
    update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy
    launch_dockerd
  fi
}

ensure_engine() {
  docker info >/dev/null 2>&1 && return
  if [[ $(uname -s) != Linux ]]; then
    fail "no Docker engine answers; start Docker Desktop, Colima or OrbStack and run this again"
  fi
  if [[ $(id -u) != 0 ]] || ! is_debian_family; then
    fail "no Docker engine answers to $(id -un); install one (Debian and Ubuntu: sudo apt install" \
      "docker.io), start it and make it reachable for you, or run this as root on a Debian-family system"
  fi
  step "container engine" start_engine
  docker info >/dev/null 2>&1 || fail "the engine was started but does not answer; see $LOGS/dockerd.log"
}

# --- Sandbox image ----------------------------------------------------------

# The archive that this machine's own apt uses, if it is a Debian.
debian_mirror() {
  grep -q '^ID=debian' /etc/os-release || return 0
  apt-get indextargets --format "\$(ORIGIN)|\$(LABEL)|\$(REPO_URI)" 'Created-By: Packages' 2>/dev/null |
    awk -F'|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }'
}

# bootstrap_base SUITE IMAGE
bootstrap_base() {
  local tar=$CACHE/$1.tar mirror
  if [[ $(id -u) != 0 ]] || ! is_debian_family; then
    echo "no registry has debian:$1, and building it needs root on a Debian-family system"
    return 1
  fi
  command -v mmdebstrap >/dev/null || apt_install mmdebstrap debian-archive-keyring
  mirror=$(debian_mirror)
  mmdebstrap --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$1" "$tar" ${mirror:+"$mirror"}
  docker import "$tar" "$2"
  rm -f "$tar"
}

# build_sandbox_image CONTENT SUITE KIND IMAGE
build_sandbox_image() {
  local base=debian:$2
  if [[ $SANDBOX_BASE && $2 == "$SANDBOX_SUITE" ]]; then
    base=$SANDBOX_BASE
    if ! docker image inspect "$base" >/dev/null 2>&1 && ! timeout 300 docker pull "$base"; then
      echo "no registry gave $base, which SANDBOX_BASE names: run this where one answers, load the image" \
        "(docker load), or leave SANDBOX_BASE out for Debian"
      return 1
    fi
  elif ! timeout 300 docker pull "$base"; then
    base=$AINA_SANDBOX_NAME/debian:$2
    docker image inspect "$base" >/dev/null 2>&1 || bootstrap_base "$2" "$base"
  fi
  docker build --network host --build-arg "BASE_IMAGE=$base" --target "$3" \
    --label "aina-factory.content=$1" --tag "$4" molecule/shared/images/sandbox
}

# has_content IMAGE CONTENT: whether the image was made of just this.
has_content() {
  [[ $(docker image inspect --format '{{ index .Config.Labels "aina-factory.content" }}' "$1" 2>/dev/null) == "$2" ]]
}

# ensure_sandbox_image [SUITE [KIND]]: KIND is blank, or equipped with the packages that roles install
ensure_sandbox_image() {
  local content suite=${1:-$SANDBOX_SUITE} kind=${2:-blank} title="sandbox image" image=$AINA_SANDBOX_NAME/sandbox
  [[ $suite == "$SANDBOX_SUITE" ]] || title+=" ($suite)"
  [[ $kind == blank ]] || title+=" ($kind)" image+=-$kind
  content=$(digest molecule/shared/images/sandbox/* | cut -d' ' -f1)
  [[ $suite != "$SANDBOX_SUITE" ]] || content+=${SANDBOX_BASE:+-$SANDBOX_BASE}
  if ! has_content "$image:$suite" "$content"; then
    step "$title" build_sandbox_image "$content" "$suite" "$kind" "$image:$suite"
  fi
}

# --- Simulator image --------------------------------------------------------

simulator_files() {
  find tests/simulator -name __pycache__ -prune -o -path tests/simulator/tests -prune -o -type f -print | LC_ALL=C sort
}

build_simulator_image() {
  local file files=(molecule/shared/images/simulator/Dockerfile .cache/github-schemas/*-*.*)
  while read -r file; do files+=("$file"); done < <(simulator_files)
  # On the sandbox host's image, with which it shares most of its layers.
  tar -cf - "${files[@]}" |
    docker build --network host --file molecule/shared/images/simulator/Dockerfile --build-arg "BASE_IMAGE=$SANDBOX_IMAGE" \
      --label "aina-factory.content=$1" --tag "$SIMULATOR_IMAGE" -
}

ensure_simulator_image() {
  local content
  content=$(simulator_files | tr '\n' '\0' | xargs -0 cksum molecule/shared/images/*/* | digest | cut -d' ' -f1)
  content+=${SANDBOX_BASE:+-$SANDBOX_BASE}
  if ! has_content "$SIMULATOR_IMAGE" "$content"; then
    ensure_schemas
    step "simulator image" build_simulator_image "$content"
  fi
}

# Made here and not with the hosts: two that start at once would make two networks of one name.
ensure_network() {
  docker network inspect "$AINA_SANDBOX_NAME" >/dev/null 2>&1 ||
    step "sandbox network" docker network create ${AINA_TEST_RUN:+--label "aina-factory.run=$AINA_TEST_RUN"} \
      "$AINA_SANDBOX_NAME"
}

# What sandbox hosts, those of the tests too, are started from.
ensure_sandbox_parts() {
  ensure_sandbox_image
  ensure_simulator_image
  ensure_network
}

# --- Sandbox host -----------------------------------------------------------

inventory_path() {
  if [[ -d $ROOT/inventory/$1 ]]; then
    printf '%s' "inventory/$1"
  elif [[ -e $1 ]]; then
    printf '%s' "$1"
  else
    fail "there is no inventory $1; under inventory/ are: $(cd "$ROOT/inventory" && echo *)"
  fi
}

is_sandbox() { [[ $1 == inventory/sandbox ]]; }

ensure_sandbox_host() {
  step "sandbox host" ansible-playbook --inventory inventory/sandbox molecule/shared/create.yml
}

# The demo's real input: a bare origin and a checkout with 108 leftover worktrees. What the
# generator writes last says that it is complete.
build_sandbox_repository() {
  docker exec "$SANDBOX_HOST" rm -rf /opt/aina-factory-demo /srv/demo
  docker exec "$SANDBOX_HOST" mkdir -p /opt/aina-factory-demo
  docker cp tests/corpus "$SANDBOX_HOST:/opt/aina-factory-demo/corpus"
  docker exec --workdir /opt/aina-factory-demo "$SANDBOX_HOST" \
    python3 -m corpus --target /srv/demo --worktrees 108 --owner ali
}

ensure_sandbox_repository() {
  if ! docker exec "$SANDBOX_HOST" test -e /srv/demo/labels.json; then
    step "108 worktrees" build_sandbox_repository
  fi
}

# How a run reaches its hosts and reads its inventory: read_reach [ansible-playbook options] sets REACH to those of
# them that Ansible's other programs need as well, and REACH_PROMPT to what asks for a password.
REACH=()
REACH_PROMPT=""
read_reach() {
  local words=()
  mapfile -d '' -t words < <(python - "$@" <<'PYTHON'
import sys

from ansible.cli.playbook import PlaybookCLI

# Ansible's own parser knows the abbreviations and the short forms.
VALUES = {
    "become_method": "--become-method",
    "become_password_file": "--become-password-file",
    "become_user": "--become-user",
    "connection": "--connection",
    "connection_password_file": "--connection-password-file",
    "extra_vars": "--extra-vars",
    "inventory": "--inventory",
    "private_key_file": "--private-key",
    "remote_user": "--user",
    "scp_extra_args": "--scp-extra-args",
    "sftp_extra_args": "--sftp-extra-args",
    "ssh_common_args": "--ssh-common-args",
    "ssh_extra_args": "--ssh-extra-args",
    "subset": "--limit",
    "timeout": "--timeout",
    "vault_ids": "--vault-id",
    "vault_password_files": "--vault-password-file",
}
PROMPTS = {
    "ask_pass": "--ask-pass",
    "ask_vault_pass": "--ask-vault-password",
    "become_ask_pass": "--ask-become-pass",
}

cli = PlaybookCLI(["ansible-playbook"])
cli.init_parser()
given = vars(cli.parser.parse_args([*sys.argv[1:], "site.yml"]))
asks = [option for name, option in PROMPTS.items() if given[name]]
asks += ["--vault-id" for item in given["vault_ids"] or () if item.rpartition("@")[2].startswith("prompt")]
words = ["--become"] if given["become"] else []
for name, option in VALUES.items():
    value = given[name]
    if value != cli.parser.get_default(name):
        words += [f"{option}={item}" for item in (value if isinstance(value, list | tuple) else [value])]
sys.stdout.write("\0".join([" ".join(asks), *words, ""]))
PYTHON
  )
  [[ ${#words[@]} -gt 0 ]] || fail "the options of ansible-playbook were not understood: $*"
  REACH_PROMPT=${words[0]}
  REACH=("${words[@]:1}")
}

# show_on_hosts INVENTORY COMMAND...: what the command prints on every host. The run was good or bad before: what
# cannot be shown is said, and fails nothing. With SHOWN_LINES only the last lines are shown.
show_on_hosts() {
  local inventory=$1
  shift
  printf '\n$ %s\n' "$*"
  if [[ -n $REACH_PROMPT ]]; then
    printf 'not shown, for %s would ask once more; on the server: %s\n' "$REACH_PROMPT" "$*"
    return
  fi
  ansible factory --inventory "$inventory" "${REACH[@]}" --module-name ansible.builtin.command --args "$*" |
    sed 's/ | CHANGED | rc=0 >>$/:/' | tail -n "${SHOWN_LINES:-+1}" ||
    printf 'not shown everywhere, see above; what was converged is so all the same. On the server: %s\n' "$*"
}
