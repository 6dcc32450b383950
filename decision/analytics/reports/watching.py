"""How far a report is, told while it is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from decision.archive.query import Database
from decision.progress import SILENT, Progress

_EVERY: Final = 0.2
"""Seconds between two looks."""


@contextmanager
def watched(database: Database, progress: Progress) -> Iterator[None]:
    """Tells how many percent of the query under way are done; a report has several."""
    if progress is SILENT:
        yield
        return
    database.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    over = Event()

    def look(move: Callable[[float], None]) -> None:
        while not over.wait(_EVERY):
            done = database.connection.query_progress()
            if done >= 0:  # else none is under way
                move(done)

    with progress.bar("Reading the archive, query by query", 100) as move:
        looking = Thread(target=look, args=(move,), daemon=True)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()  # before the connection is closed
