"""What the ground could not do, in words for people."""

from __future__ import annotations


class FactoryError(Exception):
    """Something could not be done; the message says what, where, and what to do about it."""
