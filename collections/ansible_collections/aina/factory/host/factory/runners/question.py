"""A question that is answered beside the loop of a supervisor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Question(Generic[T]):
    """One question at a time; a process that ends does not wait for its answer."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._answers: list[T] = []
        self._thread: threading.Thread | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing is being asked, and no answer waits."""
        return not self._answers and (self._thread is None or not self._thread.is_alive())

    @property
    def has_answer(self) -> bool:
        """Whether an answer waits to be taken."""
        return bool(self._answers)

    def ask(self, question: Callable[[], T]) -> None:
        """Begin to ask; a question that fails has no answer."""
        self._thread = threading.Thread(
            target=lambda: self._answers.append(question()), daemon=True
        )
        self._thread.start()

    def answer(self) -> T:
        """Take the answer that waits."""
        return self._answers.pop()
