# shellcheck shell=sh
# The program starts, and its home cannot be written where it is kept.
HOME=/tmp claude --version | grep '(Claude Code)'
[ ! -w /etc/aina-lane/homes/claude/.claude/settings.json ]
