"""Lanes: one agent run each, in a container of its own that leaves nothing behind."""
