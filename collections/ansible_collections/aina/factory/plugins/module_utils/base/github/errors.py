"""How GitHub may fail, whoever asks."""

from __future__ import annotations

from ..errors import FactoryError


class ForgeError(FactoryError):
    """GitHub did not do what it was asked; the message quotes it."""


class RefusedError(ForgeError):
    """The request is wrong or forbidden (401, 403, 404, 422)."""

    def __init__(self, message: str, status: int = 0) -> None:
        """Keep GitHub's words and the status."""
        super().__init__(message)
        self.status = status


class UnusableError(RefusedError):
    """The token is not valid or the repository lies elsewhere: all else would be refused too."""


class UncertainError(ForgeError):
    """No answer or a 5xx: the request may or may not have been carried out."""


class LimitedError(ForgeError):
    """A rate limit; try again after ``retry_after_seconds``."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        """Keep GitHub's words and the wait."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
