# shellcheck shell=sh
# The runner is there, for its own user, in the version that was asked for.
[ "$(id -u)" = 1001 ] || { echo "it starts as user $(id -u) and not as 1001" && exit 1; }
[ "$(pwd)" = /home/runner/actions-runner ] || { echo "it starts in $(pwd)" && exit 1; }
version=$(bin/Runner.Listener --version)
[ "$version" = "$EXPECTED_RUNNER" ] || {
  echo "the runner is $version, and $EXPECTED_RUNNER was asked for"
  exit 1
}
# An engine of the job's own, where one is wanted.
if [ -n "${EXPECTED_ENGINE-}" ]; then
  docker --version >/dev/null
  # Here nothing may have the rights that they need: that they are there is what can be seen.
  [ -S /var/run/docker.sock ] || [ -L /var/run/docker.sock ]
  command -v podman >/dev/null
  [ "$(getcap /usr/bin/newuidmap)" = "/usr/bin/newuidmap cap_setuid=ep" ]
  [ "$(getcap /usr/bin/newgidmap)" = "/usr/bin/newgidmap cap_setgid=ep" ]
fi
# What a hosted runner's users take for granted.
for program in cc file g++ gcc make pip pip3 pipx pkg-config python python3 rsync shellcheck sqlite3 wget zip; do
  command -v "$program" >/dev/null || { echo "it has no $program" && exit 1; }
done
python3 -m venv /tmp/venv
echo 'int main(void) { return 0; }' | gcc -x c -o /tmp/program - && /tmp/program
