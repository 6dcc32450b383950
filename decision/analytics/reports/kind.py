"""A kind of report, and how one is made from an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from decision.analytics.reports.answering import Answer, Shown
from decision.analytics.reports.asking import Option, Question, asked, options_of, range_of
from decision.analytics.reports.naming import check_names, check_range
from decision.analytics.reports.source import Source, open_source
from decision.analytics.reports.watching import watched
from decision.core.definition import PolicyDefinition
from decision.core.values import Value
from decision.files import replacing
from decision.progress import SILENT, Progress

Attributes = tuple[str, dict[str, Value]]
"""The id of a customer, and attributes."""
Q = TypeVar("Q", bound=Question)
A = TypeVar("A", bound=Answer)


class Kind(NamedTuple, Generic[Q, A]):
    """A kind of report: its name, one line about it, and an example of its options.

    `make` counts, `show` says it to people. An example is what follows `nextbest report NAME`.
    Summary, description and the help of options are keys of the console's catalogues; what `make`
    and `show` say are texts of `core.said`, names and values apart. `customers` gives attributes of
    customers that may be stored, of an answer.
    """

    name: str
    summary: str
    description: str
    example: str
    question: type[Q]
    answer: type[A]
    make: Callable[[Source, Q], A]
    show: Callable[[A], Shown]
    customers: Callable[[Source, A], Iterator[Attributes]] | None = None

    @property
    def title(self) -> str:
        """What it is called: the words before the colon of its description."""
        return " ".join(self.description.split()).partition(":")[0]

    @property
    def meaning(self) -> list[str]:
        """What it counts: the paragraphs of its description after the first, each in one line."""
        return [" ".join(one.split()) for one in self.description.strip().split("\n\n")[1:]]

    @property
    def options(self) -> tuple[Option, ...]:
        """What may be asked."""
        return options_of(self.question)


class Report(NamedTuple):
    """An answer, which is plain data, and what is not complete in it, as texts of `core.said`."""

    answer: Any
    incomplete: Sequence[str]


def answer_to(
    kind: Kind[Any, Any],
    given: Mapping[str, Any],
    archive: Path,
    policy: PolicyDefinition | None = None,
    write: Path | None = None,
    progress: Progress = SILENT,
) -> Any:
    """The answer of a kind of report to options, which may be texts, from an archive.

    `policy` has the settings, metrics and funnels that names refer to. Of a kind with `customers`,
    their attributes are written to `write`, as NDJSON that `nextbest load` reads.

    Raises:
        As `report_on`.
    """
    question = asked(kind.question, given)
    return report_on(kind, question, archive, policy, write=write, progress=progress).answer


def report_on(
    kind: Kind[Any, Any],
    question: Question,
    archive: Path,
    policy: PolicyDefinition | None = None,
    opened: Callable[[Source], None] = lambda source: None,
    write: Path | None = None,
    progress: Progress = SILENT,
) -> Report:
    """The report of a kind that answers a question. `opened` is told of the source that is read:
    another thread may stop it. `write` as in `answer_to`; `progress` is told how far each query is.

    Raises:
        InputError: an option cannot be used.
        NothingFound: the archive has nothing of what was asked.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    span = range_of(question, policy)
    with open_source(archive, span, policy) as source:
        opened(source)
        with watched(source.database, progress):
            check_range(source)
            check_names(source, question)
            answer = kind.make(source, question)
        if write is not None and kind.customers is not None:
            with replacing(write) as file:
                for customer_id, attributes in kind.customers(source, answer):
                    row = {"customer_id": customer_id, "attributes": attributes}
                    file.write(msgspec.json.encode(row) + b"\n")
        plain = [str(one) for one in source.incomplete]
        return Report(msgspec.structs.replace(answer, incomplete=plain), tuple(source.incomplete))
