# shellcheck shell=sh
[ "$EXPECTED_CODEX" = 0.169.0 ]
