"""The child that looks for sample-ratio mismatch and drift: `python -m decision.server.looking`.

It reads a `LookRequest` and answers with `Found`, both msgpack.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from decision.analytics.assignments import sample_ratios_of_archive, sample_ratios_of_log
from decision.analytics.sample_ratio import SampleRatio
from decision.archive.location import location
from decision.children import end_with_parent
from decision.core.definition import PolicyDefinition
from decision.core.errors import NextbestError
from decision.core.records import DecisionRecord, decode_decision
from decision.evaluation.serving_drift import (
    Given,
    ServingDrift,
    given_in_archive,
    given_in_log,
    serving_drift,
)
from decision.installation import require
from decision.learning.spec import spec_named
from decision.rulebook.checking import read_checked
from decision.rulebook.reader import load_files
from decision.scoring.loading import check_version
from decision.scoring.reach import Reach
from decision.scoring.scope import EVERYWHERE
from decision.scoring.versions import current_version, own_scopes
from decision.server.looks import Found, LookRequest


def look(request: LookRequest) -> Found:
    """What is found."""
    problems, ratios, drifts = [], list[SampleRatio](), list[ServingDrift]()
    archive = None if request.archive is None else location(request.archive)
    decided = [decode_decision(body) for body in request.decided]
    try:
        if archive is not None:
            require("looking at the archive")
        ratios = _sample_ratios(request, archive, decided)
    except (NextbestError, OSError) as error:
        problems.append(str(error))
    try:
        for one in _drifts(request, archive, decided):
            drifts.append(one)
    except (NextbestError, OSError) as error:
        problems.append(str(error))
    return Found(sample_ratios=ratios, drifts=drifts, problem="; ".join(dict.fromkeys(problems)))


def _sample_ratios(
    request: LookRequest, archive: Path | None, decided: Sequence[DecisionRecord]
) -> list[SampleRatio]:
    definition = read_checked(Path(request.place), request.version)
    if archive is not None:
        return sample_ratios_of_archive(archive, definition)
    earlier = {version: _definition(files) for version, files in request.policies.items()}
    return sample_ratios_of_log(decided, definition, {**earlier, definition.version: definition})


def _definition(files: dict[str, str]) -> PolicyDefinition | None:
    found = load_files(files, again=True).definition
    return found if isinstance(found, PolicyDefinition) else None


def _drifts(
    request: LookRequest, archive: Path | None, decided: Sequence[DecisionRecord]
) -> Iterator[ServingDrift]:
    """The drift of each version in force, in what it scores."""
    if request.models is None or not request.served:
        return
    models = Path(request.models)
    definition = read_checked(Path(request.place), request.version)
    own_of = own_scopes(models)
    for scope in (EVERYWHERE, *own_of):
        folder = current_version(models, scope)
        manifest = None if folder is None else check_version(folder)[0]
        if folder is None or manifest is None or manifest.version not in request.served:
            continue  # another one was put in force just now
        bound = None
        with suppress(NextbestError):  # the spec is not there, or has errors: the usual bound
            bound = spec_named(models, manifest.name).promotion.drift_at_most
        own = _scored_by(Reach(scope, frozenset(own_of)), definition)
        given: list[Given] = (
            list(given_in_log(decided, own))
            if archive is None
            else given_in_archive(archive, own=own)
        )
        yield serving_drift(folder, given, bound)


def _scored_by(reach: Reach, definition: PolicyDefinition) -> set[tuple[str, str]] | None:
    """(placement, message) of what a model scores; None: everything, also of earlier policies."""
    if reach.is_everything:
        return None
    return {
        (placement.name, message)
        for placement in definition.placements
        for message in reach.messages(definition, placement.name)
    }


def _main() -> None:
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=LookRequest)
    sys.stdout.buffer.write(msgspec.msgpack.encode(look(request)))


if __name__ == "__main__":
    end_with_parent()
    _main()
