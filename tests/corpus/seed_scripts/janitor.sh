#!/usr/bin/env bash
# The owner's daily janitor, its worktree part: the measure that a better reaper is held
# against. Only the repository's path is a parameter.
set -uo pipefail
REPO=$1
reaped=0
# Reap lane worktrees whose branch is already merged to main (work is landed -> safe to delete).
if cd "$REPO" 2>/dev/null; then
  git fetch -q origin main 2>/dev/null
  # shellcheck disable=SC2013 # faithful: it splits paths at spaces
  for wt in $(git worktree list --porcelain 2>/dev/null | awk "/^worktree/{print \$2}"); do
    [ "$wt" = "$REPO" ] && continue
    # shellcheck disable=SC2034 # faithful: it is computed and never used
    br=$(git -C "$wt" rev-parse --abbrev-ref HEAD 2>/dev/null)
    # remove if the worktree's HEAD is an ancestor of origin/main (i.e., merged) AND clean
    if git -C "$wt" merge-base --is-ancestor HEAD origin/main 2>/dev/null \
      && [ -z "$(git -C "$wt" status --porcelain 2>/dev/null)" ]; then
      git worktree remove --force "$wt" 2>/dev/null && reaped=$((reaped + 1))
    fi
  done
  git worktree prune 2>/dev/null
fi
echo "janitor: reaped $reaped merged worktrees"
