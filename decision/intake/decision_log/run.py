"""`import-log`: a table of decisions made elsewhere becomes rows of an archive, in one commit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from decision.archive.collecting import without_collecting
from decision.archive.folder import Step
from decision.core.definition import PolicyDefinition
from decision.core.errors import FileError, InputError
from decision.core.events import LONGEST_WINDOW
from decision.core.policy_builder import compile_policy
from decision.intake.decision_log.arms import Arm, Arms, Uniform
from decision.intake.decision_log.conversion import Conversion, Offers
from decision.intake.decision_log.header import Header, read_header
from decision.intake.decision_log.notes import notes_of
from decision.intake.decision_log.reading import RowReader
from decision.intake.decision_log.staging import SettledRows, StagedRows
from decision.intake.decision_log.writing import StagedTables, TypesChanged, feature_types, write
from decision.intake.tables import open_table
from decision.learning.balance import Balance
from decision.progress import SILENT, Progress
from decision.scoring.features import Feature

_TRIES: Final = 3

Refuse = Callable[[str, str], None]


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a table is imported.

    `uniform` are the arms of a claimed uniform assignment. `features` are those of model specs:
    they are logged besides what the table has. `until` (microseconds) is when the outcomes of the
    table are known up to. `new_types` are event types that no rule names. `dry_run` writes nothing.
    """

    form: str
    delimiter: str | None = None
    uniform: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    until: int | None = None
    new_types: frozenset[str] = frozenset()
    dry_run: bool = False


class Imported(msgspec.Struct, kw_only=True):
    """What an import came to. Times are microseconds.

    `decisions` and `outcomes` are new in the archive; the `known_…` were there before.
    `claimed` of the rows have a claimed probability; `arms` counts rows by arm. `until` is when
    outcomes are known up to. `policy_versions` are those under which the decisions are logged.
    """

    rows: int = 0
    decisions: int = 0
    known_decisions: int = 0
    outcomes: int = 0
    known_outcomes: int = 0
    bad_rows: int = 0
    repeated_rows: int = 0
    claimed: int = 0
    from_time: int = 0
    to_time: int = 0
    until: int = 0
    arms: dict[str, int] = {}
    policy_versions: list[str] = []
    notes: list[str] = []
    balance: Balance | None = None


def import_log(
    path: str,
    definition: PolicyDefinition,
    archive: Path,
    options: ImportOptions,
    *,
    now: int,
    refuse: Refuse = lambda place, problem: None,
    progress: Progress = SILENT,
    step: Step = lambda name: None,
) -> Imported:
    """Imports a table; `refuse` is told the place and problem of each row that is left out.

    The decisions are those of the rules in `definition`. Importing again changes nothing.

    Raises:
        FileError: the table as a whole cannot be imported, or the archive cannot be written.
        OSError: a file cannot be read or written; nothing was imported.
    """
    with TemporaryDirectory(prefix="nextbest-import-") as name, without_collecting():
        return _Import(path, definition, archive, options, now, Path(name)).run(
            refuse, progress, step
        )


class _Import:
    def __init__(
        self,
        path: str,
        definition: PolicyDefinition,
        archive: Path,
        options: ImportOptions,
        now: int,
        scratch: Path,
    ) -> None:
        self.path = path
        self.definition = definition
        self.archive = archive
        self.options = options
        self.now = now
        self.scratch = scratch
        self.found = Imported()
        self.arms = Arms(compile_policy(definition))
        self.there: dict[str, Counter[Arm]] = defaultdict(Counter)
        try:
            self.uniform = Uniform(self.arms, options.uniform) if options.uniform else None
        except InputError as error:
            raise FileError(f"{path}: {error}") from None

    def run(self, refuse: Refuse, progress: Progress, step: Step) -> Imported:
        types = feature_types(self.archive)  # refused before a long table is read
        found, options = self.found, self.options
        rows, header, reader = self._read(refuse, progress)
        if not found.rows:
            raise FileError(f"{self.path}: there is no row after the header")
        if not len(rows):
            return found
        found.from_time, found.to_time = rows.span()
        found.until = min(self.now, found.to_time + LONGEST_WINDOW)
        if options.until is not None:
            found.until = options.until
        noted = notes_of(self.arms.policy, header, reader, rows, found.arms)
        for number in range(_TRIES):
            staged = StagedTables(self.scratch / f"tables-{number}", types)
            made = Conversion(self.definition, header, reader, options.features)
            made.stage(
                rows, Offers(self.arms, self.uniform, self.there), found.until, staged, progress
            )
            found.claimed, found.policy_versions = made.claimed, made.policy_versions()
            found.balance, found.notes = made.balance, [*noted, *made.notes]
            if options.dry_run:
                return found
            policies = dict.fromkeys(found.policy_versions, self.definition.files)
            try:
                written = write(self.archive, staged, policies, step)
            except TypesChanged:
                types = feature_types(self.archive)
                continue
            found.decisions, found.outcomes = written.new["decisions"], written.new["outcomes"]
            found.known_decisions = written.known["decisions"]
            found.known_outcomes = written.known["outcomes"]
            return found
        raise FileError(f"{self.archive}: it changes all the time; import again later")

    def _read(self, refuse: Refuse, progress: Progress) -> tuple[SettledRows, Header, RowReader]:
        options, found = self.options, self.found
        staged = StagedRows(self.scratch / "rows")
        start = ""
        with (
            staged,
            open_table(self.path, options.form, options.delimiter) as table,
            progress.bar("Reading rows") as move,
        ):
            header = read_header(
                table.names,
                self.path,
                self.arms,
                new_types=options.new_types,
                claimed=self.uniform is not None,
            )
            reader = RowReader(header, table.types, self.arms, self.uniform, self.now)
            for place, cells, problem in table.rows:
                found.rows += 1
                start, number = _split(place)
                try:
                    if problem:
                        raise InputError("", problem)
                    row = reader.read(number, cells)
                except InputError as error:
                    found.bad_rows += 1
                    refuse(place, str(error))
                    continue
                staged.add(row)
                self.there[row.placement][row.arm] += 1
                if found.rows % 1024 == 0:
                    move(found.rows)
        rows = staged.settle()
        for again in rows.drop_repeated():
            found.repeated_rows += 1
            refuse(f"{start}{again.number}", _repeated(f"{start}{again.first}", again.same))
        counts = sum(self.there.values(), Counter[Arm]())
        found.arms = {str(arm): counts[arm] for arm in self.arms.order(counts)}
        return rows, header, reader


def _split(place: str) -> tuple[str, int]:
    """`file:7` and `file:row 7` in two parts: before the number, and the number."""
    digits = len(place) - len(place.rstrip("0123456789"))
    return place[:-digits], int(place[-digits:])


def _repeated(first: str, same: bool) -> str:
    if same:
        return f"is the same as {first}, and left out"
    return (
        f"is the same decision as {first} (customer, time, placement, message and channel), with "
        "other values, and left out; if both were made, give decided_at to the second, or a column "
        "request_id"
    )
