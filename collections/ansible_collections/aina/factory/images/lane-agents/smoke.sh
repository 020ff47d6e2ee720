# shellcheck shell=sh
# codex reads no more than this of all instructions together.
[ "$(cat /etc/aina-lane/AGENTS.md /etc/aina-lane/AGENTS.project.md | wc -c)" -lt 32768 ] || {
  echo "AGENTS.md is too long: codex reads 32 KiB of all instructions together"
  exit 1
}
