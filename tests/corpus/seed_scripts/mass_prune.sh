#!/usr/bin/env bash
# The owner's first mass prune: remove every worktree that git lets go, unlock the others
# and try once more. Only the repository's path is a parameter.
cd "$1" || exit 1
removed=0
kept=0
# shellcheck disable=SC2013 # faithful: it splits paths at spaces
for wt in $(git worktree list --porcelain 2>/dev/null | awk "/^worktree/{print \$2}"); do
  [ "$wt" = "$1" ] && continue
  if git worktree remove "$wt" 2>/dev/null; then
    removed=$((removed + 1))
  else
    git worktree unlock "$wt" 2>/dev/null
    if git worktree remove "$wt" 2>/dev/null; then removed=$((removed + 1)); else kept=$((kept + 1)); fi
  fi
done
git worktree prune 2>/dev/null
echo "worktrees removed=$removed kept(dirty/locked)=$kept"
