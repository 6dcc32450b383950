"""What a decision saw, as it is archived: readable without the store.

`question` is the JSON of `core.decide.Question`. `document` is the customer's document as it is in
the log, packed (`store.codec`) with the names and kinds of contacts in `registers/<register>.json`;
turning each one into JSON would cost several times as much as archiving. If `register` is null,
`document` is the JSON of `core.document.Document` with the kinds of its own contacts. `spent` names
the candidates (`message/channel`) that had no budget left; `budgets` says what was taken of each of
the policy's `budgets:` (see `core.budgets`); `coupons` is message → the coupon code that it gave.
Together with the policy of that version they give the same decision again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from decision.archive.errors import UnreadableFile
from decision.archive.given import ids_not_given
from decision.archive.location import parquet_file
from decision.archive.registers import Registers
from decision.archive.tables import files
from decision.core.candidates import CandidateInfo
from decision.core.clock import to_micros
from decision.core.decide import Question
from decision.core.document import ContactKind, Document
from decision.core.masks import mask_where
from decision.store.codec import UnreadableDocument

ROWS_AT_ONCE: Final = 4096


class ArchivedReplay(msgspec.Struct, frozen=True, kw_only=True):
    """One decision to decide again. `decided_at` is microseconds, `exploration` γ or None."""

    decision_id: str
    decided_at: int
    customer_id: str
    question: Question
    document: Document
    draws: tuple[float, ...] = ()
    spent: tuple[str, ...] = ()
    budgets: dict[str, int] = {}
    coupons: dict[str, str] = {}
    exploration: float | None = None
    policy_version: str
    model_version: str | None = None

    def spent_mask(self, candidates: Sequence[CandidateInfo]) -> int:
        """The mask of a policy's candidates that had no budget left."""
        names = frozenset(self.spent)
        return mask_where(f"{info.message}/{info.channel}" in names for info in candidates)


def document_json(document: Document) -> str:
    """The JSON of a document with the kinds of its own contacts, so that it needs no register."""
    kinds: dict[ContactKind, int] = {}
    contacts = [
        contact._replace(kind=kinds.setdefault(document.kinds[contact.kind], len(kinds)))
        for contact in document.contacts
    ]
    earlier = {
        kinds.setdefault(document.kinds[kind], len(kinds)): count
        for kind, count in document.earlier.items()
    }
    alone = msgspec.structs.replace(
        document,
        contacts=contacts,
        earlier=earlier,
        events=dict(document.events),  # a stored document's may be `EventColumns`
        kinds=tuple(kinds),
    )
    return msgspec.json.encode(alone).decode()


_question = msgspec.json.Decoder(Question)
_document = msgspec.json.Decoder(Document)


def replay_of(row: Mapping[str, Any], registers: Registers) -> ArchivedReplay:
    """The replay of one row of the dataset, with `decided_at` in microseconds or as a time.

    Raises:
        MsgspecError, UnreadableDocument: its question or document cannot be read.
        OSError: the register that its document needs is missing.
    """
    at = row["decided_at"]
    return ArchivedReplay(
        decision_id=row["decision_id"],
        decided_at=at if isinstance(at, int) else to_micros(at),
        customer_id=row["customer_id"],
        question=_question.decode(row["question"]),
        document=read_document(row, registers),
        draws=tuple(row["draws"] or ()),
        spent=tuple(row["spent"] or ()),
        budgets={name: int(taken) for name, taken in row.get("budgets") or ()},
        coupons=dict(row.get("coupons") or ()),
        exploration=row["exploration"],
        policy_version=row["policy_version"],
        model_version=row["model_version"],
    )


def read_document(row: Mapping[str, Any], registers: Registers) -> Document:
    """The document of a row of the dataset that has `customer_id`, `document` and `register`.

    Raises:
        MsgspecError, UnreadableDocument: it cannot be read.
        OSError: the register that it needs is missing.
    """
    register, raw = row.get("register"), row["document"]
    if register is None:
        return _document.decode(raw)
    return registers.unpack(register, row["customer_id"], raw)


def read_replays(
    archive: Path,
    *,
    rows_at_once: int = ROWS_AT_ONCE,
    newest: int | None = None,
    wanted: Callable[[str, int], bool] | None = None,
) -> Iterator[ArchivedReplay]:
    """Every decision of an archive that somebody was given, day by day, in bounded memory.

    With `newest` only the last ones, about so many; with `wanted` those for whose id and time
    (microseconds) it is true, asked one after the other.

    Raises:
        FileNotFoundError: the archive has no replays.
        ArchiveError: the archive lacks a file, or one is damaged; it is named.
    """
    paths = files(archive, "replays")
    if not paths:
        raise FileNotFoundError(2, "there are no replays", str(archive / "replays"))
    registers = Registers(archive)
    not_given = ids_not_given(archive)
    paths, since = (paths, None) if newest is None else _newest(paths, newest)
    for path in paths:
        for row in replay_rows(path, rows_at_once=rows_at_once, since=since):
            if row["decision_id"] in not_given:
                continue
            if wanted is not None and not wanted(row["decision_id"], row["decided_at"]):
                continue
            try:
                yield replay_of(row, registers)
            except (msgspec.MsgspecError, UnreadableDocument, KeyError, OSError) as error:
                raise UnreadableFile(f"{path} cannot be read: {error}") from error


def _newest(paths: Sequence[Path], newest: int) -> tuple[list[Path], int | None]:
    """The files of the last days with so many decisions, and since when they are to be read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chosen: list[Path] = []
    times: list[Any] = []
    for day in sorted({path.parent for path in paths}, reverse=True):
        own = [path for path in paths if path.parent == day]
        chosen = own + chosen
        for path in own:
            try:
                times.append(parquet_file(path).read(["decided_at"]).column(0).cast(pa.int64()))
            except (pa.ArrowException, KeyError) as error:
                raise UnreadableFile(f"{path} cannot be read: {error}") from error
        if sum(map(len, times)) > newest:
            known = pa.chunked_array([chunk for column in times for chunk in column.chunks])
            place = pc.select_k_unstable(known, newest, [("", "descending")])[-1].as_py()
            return chosen, known[place].as_py()
    return chosen, None


def replay_rows(
    path: Path,
    *,
    rows_at_once: int = ROWS_AT_ONCE,
    decision_id: str | None = None,
    since: int | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of one file of the dataset, or of one decision in it; times in microseconds.

    Raises:
        UnreadableFile: the file is damaged; it is named.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        with parquet_file(path) as file:
            for batch in file.iter_batches(rows_at_once):
                if decision_id is not None:
                    batch = batch.filter(pc.equal(batch.column("decision_id"), decision_id))
                times = batch.schema.get_field_index("decided_at")
                batch = batch.set_column(times, "decided_at", batch.column(times).cast(pa.int64()))
                if since is not None:
                    batch = batch.filter(pc.greater_equal(batch.column(times), since))
                yield from batch.to_pylist()
    except (pa.ArrowException, KeyError) as error:
        raise UnreadableFile(f"{path} cannot be read: {error}") from error
