"""A git repository with a hundred labelled worktrees, to judge a reaper from outside.

Standard library and git only: the package can be copied to any host with Python >= 3.11
and run there (``python3 -m corpus --target DIR``).
"""
