#!/bin/sh
# Empties a job's workspace before it begins and after it has ended, so that no job finds what another left.
# Nothing that goes wrong here may fail a job or hold it up.
if [ -d "${GITHUB_WORKSPACE:-}" ]; then
  timeout --kill-after=5 120 find "$GITHUB_WORKSPACE" -mindepth 1 -delete ||
    echo "The workspace could not be emptied completely."
fi
exit 0
