"""What a server looks for once an hour, beside its requests: sample-ratio mismatch, and drift.

One server of all on a store looks, in a child process of low priority, over the archive or else the
newest decisions of the log. What it finds lies in the store, where the others read it too.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from decision.analytics.sample_ratio import SampleRatio
from decision.children import Child
from decision.core.clock import from_micros
from decision.core.identifiers import PARTITIONS
from decision.core.ports import BlobStore, Store
from decision.core.records import decode_decision
from decision.core.schema import Moment
from decision.engine.snapshot import Snapshot, policy_blob
from decision.evaluation.serving_drift import ServingDrift
from decision.observability import get_logger

KEPT: Final = "looks"
"""The store's named value with what was found last."""

EVERY: Final = timedelta(hours=1)
SOON: Final = timedelta(minutes=5)
"""After this long it is looked again where another policy or model is in force."""

COMMAND: Final = (sys.executable, "-P", "-m", "decision.server.looking")
_RECORDS: Final = 40
"""Newest records of each of the log's partitions, where there is no archive: some 10,000."""
_PARTITIONS_AT_ONCE: Final = 16
_WITHIN: Final = 600.0
_NICENESS: Final = 19

_log = get_logger()


class LookRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the child looks at: an archive, or else bodies of records of decisions.

    `place` has the checked definition of `version`, `policies` the rule files of earlier ones.
    `served` are the versions in force of the folder `models`.
    """

    place: str
    version: str
    archive: str | None = None
    decided: list[bytes] = []
    policies: dict[str, dict[str, str]] = {}
    models: str | None = None
    served: list[str] = []


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the child found. `problem` says why it could not look at everything."""

    sample_ratios: list[SampleRatio] = []
    drifts: list[ServingDrift] = []
    problem: str = ""


class Looks(msgspec.Struct, frozen=True, kw_only=True):
    """What was found last, at a time, with a policy and models in force.

    `source` is `archive`, or `log`: then it is of the newest decisions alone.
    """

    at: Moment
    policy: str
    served: list[str] = []
    source: str
    found: Found


async def last_looks(store: BlobStore) -> Looks | None:
    """What was found last; None where nobody has looked.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    kept = await store.get_blob(KEPT)
    with suppress(msgspec.MsgspecError):  # of another version
        return None if kept is None else msgspec.json.decode(kept, type=Looks)
    return None


class Looking:
    """Looks when it is time. `archive` and `models` are folders."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], int],
        *,
        archive: str | None = None,
        models: str | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._archive = archive
        self._models = models

    async def check(self, snapshot: Snapshot, place: Path) -> None:
        """Looks if nobody has for an hour, or what is in force has changed.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        before, now = await last_looks(self._store), from_micros(self._clock())
        if before is not None:
            same = (before.policy, before.served) == (snapshot.policy_version, _served(snapshot))
            if timedelta() <= now - before.at < (EVERY if same else SOON):
                return
        await self.look(snapshot, place)

    async def look(self, snapshot: Snapshot, place: Path) -> Looks:
        """Looks now, and keeps what is found.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        request = LookRequest(
            place=str(place),
            version=snapshot.policy_version,
            archive=self._archive,
            models=self._models,
            served=_served(snapshot),
        )
        if self._archive is None:
            request = await self._with_log(request)
        found = await _child(request)
        looks = Looks(
            at=from_micros(self._clock()),
            policy=snapshot.policy_version,
            served=_served(snapshot),
            source="log" if self._archive is None else "archive",
            found=found,
        )
        await self._store.put_blob(KEPT, msgspec.json.encode(looks))
        return looks

    async def _with_log(self, request: LookRequest) -> LookRequest:
        decided: list[bytes] = []
        versions: set[str] = set()
        for first in range(0, PARTITIONS, _PARTITIONS_AT_ONCE):
            partitions = range(first, min(first + _PARTITIONS_AT_ONCE, PARTITIONS))
            for record in await self._store.newest_records(partitions, _RECORDS):
                if record.kind == "decision":
                    with suppress(msgspec.MsgspecError):
                        versions.add(decode_decision(record.body).policy_version)
                        decided.append(record.body)
        policies = {}
        for version in versions - {request.version}:
            with suppress(msgspec.MsgspecError):
                if kept := await self._store.get_blob(policy_blob(version)):
                    policies[version] = msgspec.msgpack.decode(kept, type=dict[str, str])
        return msgspec.structs.replace(request, decided=decided, policies=policies)


def _served(snapshot: Snapshot) -> list[str]:
    """The versions in force, in order."""
    return sorted({one.version for one in snapshot.models.values()})


async def _child(request: LookRequest) -> Found:
    child = Child(COMMAND, _NICENESS)
    try:
        data = msgspec.msgpack.encode(request)
        output, errors, code = await asyncio.to_thread(child.run, data, _WITHIN)
    except subprocess.TimeoutExpired:
        return Found(problem=f"it took longer than {_WITHIN:g} s, and was ended")
    finally:
        child.end()
    if code != 0:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        _log.error("look_failed", problem=last, code=code)
        return Found(problem=last or f"it ended with {code}")
    return msgspec.msgpack.decode(output, type=Found)
