"""A simulated GitHub over real git repositories, for tests and the sandbox."""

from __future__ import annotations

from simulator.server import Simulator

__all__ = ["Simulator"]
