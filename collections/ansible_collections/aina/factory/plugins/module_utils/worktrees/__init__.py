"""Which worktrees of a repository can go, proven by git, and how they go.

``survey`` collects facts through the ports, ``decide`` judges them (pure), ``trash``
moves and deletes. The order of the modules: model, git, landed, processes, contents,
survey, decide, trash, reap.
"""
