"""How long work tells its caller what it does. Libraries take a `Progress`; callers print."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """What long work says while it runs; the command shows it, a web page may, tests collect it."""

    def say(self, text: str) -> None:
        """One message, such as a row that was refused."""
        ...

    def step(self, what: str) -> AbstractContextManager[None]:
        """Some seconds of work of unknown length."""
        ...

    def bar(
        self, what: str, total: float | None = None
    ) -> AbstractContextManager[Callable[[float], None]]:
        """Work of known length; yields what sets how much of `total` is done."""
        ...


class Silent:
    """A `Progress` that shows nothing."""

    def say(self, text: str) -> None:
        """Drops the message."""

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Shows nothing meanwhile."""
        yield

    @contextmanager
    def bar(self, what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
        """Shows nothing meanwhile."""
        yield lambda done: None


SILENT = Silent()
"""The default of every library function that takes a `Progress`."""


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, for messages.

    >>> count_of(1, "customer"), count_of(64000, "customer")
    ('1 customer', '64,000 customers')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
