"""Logged decisions found again, written as scenarios, run, and kept in a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec

from decision.archive.location import parquet_file
from decision.core import logged_scores, records
from decision.core.definition import PolicyDefinition
from decision.core.errors import FileError
from decision.core.identifiers import parse_decision_id
from decision.core.masks import indices, mask_from_bytes
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.ports import Store
from decision.engine import Engine
from decision.engine.snapshot import policy_blob
from decision.files import write_whole
from decision.rulebook.diagnostics import render_all
from decision.rulebook.reader import load_files
from decision.rulebook.yaml_source import read_yaml
from decision.scenarios.files import scenarios_in
from decision.scenarios.recorded import Logged
from decision.scenarios.run import Result, run_scenarios
from decision.scenarios.writing import as_yaml, plain

_WITHOUT_STORE: Final = (
    "decision {} was given without the store: nothing was known of the customer, so there is "
    "nothing to record; take another decision"
)


def run_recorded(definition: PolicyDefinition, scenario: Any, rules: str) -> tuple[str, Result]:
    """The scenario as text, and what comes of that text where it is run.

    Raises:
        FileError: the policy in force lacks what the scenario names.
    """
    text = as_yaml(plain(scenario))
    placed, diagnostics = scenarios_in("recorded", text, compile_policy(definition))
    if diagnostics:
        problems = render_all(diagnostics)
        raise FileError(f"{text}\nthe scenario does not fit {rules}:\n\n{problems}")
    [result] = asyncio.run(run_scenarios(definition, placed, durable=False))
    return text, result


def append(out: Path, text: str, name: str, policy: Policy) -> None:
    """Puts a scenario at the end of a file, in one step.

    Raises:
        FileError: the file has a scenario of that name, is no scenario file, or cannot be written.
    """
    try:
        before = out.read_bytes() if out.exists() else b""
    except OSError as error:
        raise FileError(f"{out}: {error.strerror}") from None
    source = read_yaml(str(out), before)
    if not source.complete or (source.root is not None and not isinstance(source.root.value, list)):
        raise FileError(f"{out} is not a file of scenarios; give another one")
    for placed in scenarios_in(str(out), source.text, policy)[0]:
        if placed.scenario.name == name:
            raise FileError(f"{placed.source} has this scenario already")
    gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
    try:
        write_whole(out, before + gap + text.encode(), parents=False)
    except OSError as error:
        raise FileError(f"{out} cannot be written: {error.strerror}") from None


async def find_logged(
    store: Store, decision_id: str
) -> tuple[Logged, PolicyDefinition | None] | None:
    """A decision of a store's log and the policy that made it, or None where it is not there.

    The policy is None where the store does not have it any more.

    Raises:
        FileError: it was given without the store.
    """
    record = await Engine(store).replay.record(decision_id)
    if record is None:
        return None
    if records.made_without_store(record):
        raise FileError(_WITHOUT_STORE.format(decision_id))
    files = await store.get_blob(policy_blob(record.policy_version))
    definition = None
    if files is not None:
        texts = msgspec.msgpack.decode(files, type=dict[str, str])
        definition = load_files(texts, again=True).definition
    names: list[str] = []
    if definition is not None:
        names = [f"{one.message}/{one.channel}" for one in compile_policy(definition).candidates]
    scores = logged_scores.unpack_scores(record.candidates) if names else []
    spent = indices(mask_from_bytes(record.spent)) if names else []
    logged = Logged(
        decision_id=decision_id,
        decided_at=record.decided_at,
        customer_id=record.customer_id,
        question=record.question,
        document=store.unpack(record.customer_id, record.document),
        policy_version=record.policy_version,
        probabilities={names[index]: probability for index, probability, _, _ in scores},
        spent=frozenset(names[index] for index in spent if index < len(names)),
        budgets=record.budgets,
        given=tuple(f"{one.message}/{one.channel}" for one in record.selections),
        outcome=record.outcome,
        contended="contention" in record.degraded,
    )
    return logged, definition


def find_archived(archive: Path, decision_id: str) -> tuple[Logged, PolicyDefinition | None]:
    """A decision of an archive, and the policy that made it, if the archive has that.

    Raises:
        FileError: it is not there, or the archive cannot be read.
    """
    from decision.archive.errors import ArchiveError
    from decision.archive.policies import read_policy
    from decision.archive.registers import Registers
    from decision.archive.replays import replay_of, replay_rows
    from decision.archive.tables import files

    try:
        paths = _nearest_first(files(archive, "replays"), decision_id)
        rows = (row for path in paths for row in replay_rows(path, decision_id=decision_id))
        row = next(rows, None)
        decisions = _nearest_first(files(archive, "decisions"), decision_id)
        made = next((found for path in decisions if (found := _rows(path, decision_id))), [])
        if row is None and made and "store" in (made[0]["degraded"] or ()):
            raise FileError(_WITHOUT_STORE.format(decision_id))
        if row is None:
            raise FileError(f"decision {decision_id} is not in the archive {archive}")
        replay = replay_of(row, Registers(archive))
    except (ArchiveError, OSError, ValueError) as error:
        raise FileError(f"{archive} cannot be read: {error}") from None
    logged = Logged(
        decision_id=decision_id,
        decided_at=replay.decided_at,
        customer_id=replay.customer_id,
        question=replay.question,
        document=replay.document,
        policy_version=replay.policy_version,
        probabilities=_probabilities(made),
        spent=frozenset(replay.spent),
        budgets=replay.budgets,
        given=tuple(f"{one['message']}/{one['channel']}" for one in made if one["message"]),
        outcome=made[0]["outcome"] if made else "",
        contended=bool(made) and "contention" in (made[0]["degraded"] or ()),
    )
    return logged, read_policy(archive, replay.policy_version)


def _nearest_first(paths: list[Path], decision_id: str) -> list[Path]:
    """Files of the day that the id was made on before all others."""
    from decision.archive.layout import day_of

    day = f"date={day_of(parse_decision_id(decision_id)[0] * 1000)}"
    return sorted(paths, key=lambda path: path.parent.name != day)


def _rows(path: Path, decision_id: str) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    columns = ["decision_id", "position", "message", "channel", "outcome", "degraded", "candidates"]
    with parquet_file(path) as file:
        table = file.read(columns)
    rows = table.filter(pc.equal(table.column("decision_id"), decision_id)).to_pylist()
    return sorted(rows, key=lambda row: row["position"] or 0)


def _probabilities(rows: list[dict[str, Any]]) -> dict[str, float]:
    candidates = rows[0]["candidates"] or () if rows else ()
    return {
        f"{one['message']}/{one['channel']}": one["response_probability"]
        for one in candidates
        if one["response_probability"] is not None
    }
