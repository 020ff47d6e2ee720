# shellcheck shell=sh
# The runner is there, for its own user, in the version that was asked for.
[ "$(pwd)" = /home/runner/actions-runner ]
version=$(bin/Runner.Listener --version)
[ "$version" = "$EXPECTED_RUNNER" ] || {
  echo "the runner is $version, and $EXPECTED_RUNNER was asked for"
  exit 1
}
