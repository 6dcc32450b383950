"""What a decision saw, as the archive keeps it: readable without the store it was made in.

`question` is the JSON of `core.decide.Question`; `document` that of `core.document.Document` with
the kinds of its own contacts alone; `spent` names the candidates (`message/channel`) whose budget
was spent. With the policy of that version they give the same decision again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from decision.core.candidates import CandidateInfo
from decision.core.clock import to_micros
from decision.core.decide import Question
from decision.core.document import ContactKind, Document


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """One decision to decide again. `decided_at` is microseconds, `exploration` γ or None."""

    decision_id: str
    decided_at: int
    customer_id: str
    question: Question
    document: Document
    draws: tuple[float, ...] = ()
    spent: tuple[str, ...] = ()
    exploration: float | None = None
    policy_version: str
    model_version: str | None = None

    def spent_mask(self, candidates: list[CandidateInfo]) -> int:
        """The mask of a policy's candidates whose budget was spent."""
        names = frozenset(self.spent)
        return sum(
            1 << index
            for index, info in enumerate(candidates)
            if f"{info.message}/{info.channel}" in names
        )


def document_json(document: Document) -> str:
    """A document by itself, with the kinds of its own contacts alone."""
    kinds: dict[ContactKind, int] = {}
    contacts = [
        contact._replace(kind=kinds.setdefault(document.kinds[contact.kind], len(kinds)))
        for contact in document.contacts
    ]
    alone = msgspec.structs.replace(document, contacts=contacts, kinds=tuple(kinds))
    return msgspec.json.encode(alone).decode()


_question = msgspec.json.Decoder(Question)
_document = msgspec.json.Decoder(Document)


def replay_of(row: Mapping[str, Any]) -> Replay:
    """The replay of one row of the dataset, `decided_at` in microseconds or as a time.

    Raises:
        msgspec.DecodeError: its question or document is none.
    """
    at = row["decided_at"]
    return Replay(
        decision_id=row["decision_id"],
        decided_at=at if isinstance(at, int) else to_micros(at),
        customer_id=row["customer_id"],
        question=_question.decode(row["question"]),
        document=_document.decode(row["document"]),
        draws=tuple(row["draws"] or ()),
        spent=tuple(row["spent"] or ()),
        exploration=row["exploration"],
        policy_version=row["policy_version"],
        model_version=row["model_version"],
    )


def read_replays(archive: Path, *, rows_at_once: int = 4096) -> Iterator[Replay]:
    """Every decision of an archive, day by day, in bounded memory.

    Raises:
        OSError: there are no replays below the folder.
        ValueError: a file is damaged; it is named.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    days = sorted((archive / "replays").glob("date=*"))
    if not days:
        raise FileNotFoundError(2, "there are no replays", str(archive / "replays"))
    for path in (path for day in days for path in sorted(day.glob("*.parquet"))):
        try:
            for batch in pq.ParquetFile(path).iter_batches(rows_at_once):
                times = batch.schema.get_field_index("decided_at")
                batch = batch.set_column(times, "decided_at", batch.column(times).cast(pa.int64()))
                yield from map(replay_of, batch.to_pylist())
        except (pa.ArrowException, msgspec.MsgspecError, KeyError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
