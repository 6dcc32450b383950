"""A kind of report, and how one is made from an archive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from decision.analytics.reports.answering import Answer, Shown
from decision.analytics.reports.asking import Option, Question, asked, options_of, range_of
from decision.analytics.reports.source import Source, open_source
from decision.core.definition import PolicyDefinition

Q = TypeVar("Q", bound=Question)
A = TypeVar("A", bound=Answer)


class Kind(NamedTuple, Generic[Q, A]):
    """A kind of report: its name, one line about it, and an example of its options.

    `make` counts, `show` says it to people. An example is what follows `nextbest report NAME`.
    """

    name: str
    summary: str
    description: str
    example: str
    question: type[Q]
    answer: type[A]
    make: Callable[[Source, Q], A]
    show: Callable[[A], Shown]

    @property
    def options(self) -> tuple[Option, ...]:
        """What may be asked."""
        return options_of(self.question)


def answer_to(
    kind: Kind[Any, Any],
    given: Mapping[str, Any],
    archive: Path,
    policy: PolicyDefinition | None = None,
) -> Any:
    """The answer of a kind of report to options, which may be texts, from an archive.

    `policy` has the settings, metrics and funnels that names refer to.

    Raises:
        InputError: an option cannot be used.
        NothingFound: the archive has nothing of what was asked.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    question = asked(kind.question, given)
    span = range_of(question, policy)
    with open_source(archive, span, policy) as source:
        return kind.make(source, question)
