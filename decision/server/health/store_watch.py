"""The look at the store, once a second: can it be written, is it safe, has it lost data?

One worker of a server looks, with a few commands; the others take over what it has seen. Beside it,
each worker asks for a sign of life by itself, and notes what Redis refuses to its own calls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from decision.core.errors import StoreUnavailable
from decision.engine.runtime import wall_clock
from decision.observability import get_logger
from decision.server.health.answer_watch import AnswerWatch
from decision.server.health.clock_watch import ClockWatch
from decision.server.health.durability_watch import DurabilityWatch
from decision.server.health.log_watch import LogWatch
from decision.server.health.loss_watch import LossState, LossWatch
from decision.server.health.losses import marks_of
from decision.server.health.state import StoreHealth, Trouble, What, trouble, trouble_of
from decision.server.metrics import Metrics
from decision.server.shared_folder import SharedFolder
from decision.store.health import AnswerCount, Watched

REFUSED_FOR: Final = 5.0
"""Seconds for which a refused call counts: what is refused now and then is not restored between."""

RIGHTS_EVERY: Final = 10.0
"""Seconds between two trials of all rights, as long as none is missing."""

STALE: Final = 10.0
"""Seconds after which the report of another worker is too old to be used."""

_log = get_logger()


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker that looks, `by`, has seen. Times are `time.monotonic()`, of the machine."""

    at: float
    by: str = ""
    troubles: Mapping[What, Trouble] = {}
    notices: Mapping[str, str] = {}
    accepted: Mapping[str, str] = {}
    losses: LossState = LossState()


class StoreWatch:
    """Watches one store for one worker.

    `clock` gives the present in microseconds, `log_limit` is in bytes, `log_lag` in seconds, and
    `memory` is a file that outlives server and store.
    """

    def __init__(
        self,
        store: object,
        health: StoreHealth,
        metrics: Metrics,
        *,
        clock: Callable[[], int] = wall_clock,
        answers: AnswerCount | None = None,
        log_limit: int = 0,
        log_lag: float = 3600.0,
        memory: Path | None = None,
    ) -> None:
        self._store = store if isinstance(store, Watched) else None
        self._health = health
        self._metrics = metrics
        self._clocks = ClockWatch(health, metrics, clock)
        self._durability = DurabilityWatch(health)
        where = "" if self._store is None else self._store.where
        self._answers = AnswerWatch(answers or AnswerCount(), where)
        self._log_watch = LogWatch(log_limit, log_lag, health, metrics)
        self._loss_watch = LossWatch(health, metrics, memory)
        self._own = os.urandom(8).hex()
        self._began = time.monotonic()
        self._led = False
        self._missing: list[str] = []
        self._rights_at = -RIGHTS_EVERY

    async def look(self, shared: SharedFolder) -> None:
        """Looks, or takes over what the worker that looks has seen. The store has just answered.

        Raises:
            StoreUnavailable: it does not answer any more.
        """
        store = self._store
        if store is None:
            self._health.note("store", None)
            return
        try:
            report = _report_in(shared)
            silent = self._silent(report)
            if shared.lead():
                await self._look(store, shared, report, None)
            elif silent is not None:
                await self._look(store, shared, report, silent)
            else:
                self._led = False
                self._adopt(store, report)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - what cannot be looked at is not well
            self._failed(error, shared)
        finally:
            self._metrics.store.refused(store.refused.counts)

    def _silent(self, report: HealthReport | None) -> Trouble | None:
        """Why this worker must look although another has the part, if it must."""
        at = self._began if report is None else report.at
        age = time.monotonic() - at
        if age <= STALE and (report is None or report.by != self._own):
            return None
        text = "the worker that looks at Redis does not tell what it sees, so each looks by itself"
        fix = (
            "see whether a worker hangs, and whether the disk of TMPDIR is full; restart the server"
        )
        return trouble("silent", f"{text}; {fix}")

    def _failed(self, error: Exception, shared: SharedFolder) -> None:
        """Notes that the look itself failed; what was seen before stays."""
        name = type(error).__name__
        before = self._health.troubles.get("watch")
        if before is None or before.code != name:
            _log.error("look_failed", exc_info=error)
        text = f"the look at Redis fails ({name}), so what is said of it is of before"
        fix = "see look_failed in the log, and whether another program writes under the prefix"
        self._health.note("watch", trouble(name, f"{text}; {fix}"))
        with suppress(OSError):
            shared.note_health(self._report())

    async def _look(
        self,
        store: Watched,
        shared: SharedFolder,
        before: HealthReport | None,
        silent: Trouble | None,
    ) -> None:
        health = self._health
        other = before is not None and before.by != self._own and before.at > self._began
        if not self._led or (other and silent is None):
            self._led = True
            self._durability.accepted = None if before is None else before.accepted
            self._loss_watch.resume(None if before is None else before.losses)
        server, beat, refusal = shared.own.decode(), None, None
        try:
            beat = await self._clocks.beat(store, server)
            self._metrics.store.written()
        except StoreUnavailable as error:
            refusal = error
        self._metrics.store.refused(store.refused.counts)
        health.note("store", await self._trouble(store, refusal))
        state = await store.server_state()
        self._metrics.store.server(state)
        self._durability.look(state)
        if beat is not None:
            await self._loss_watch.look(store, marks_of(beat, state), beat.now)
            self._clocks.look(beat, server)
        with suppress(StoreUnavailable):  # noted as a refusal
            await self._log_watch.look(store, state)
        self._tell(shared, silent)

    def _tell(self, shared: SharedFolder, found: Trouble | None) -> None:
        """Tells the others what was seen; where that fails, they look for themselves."""
        report = self._report()
        troubles: dict[What, Trouble] = {
            what: one for what, one in report.troubles.items() if what != "watch"
        }
        if found is not None:
            troubles["watch"] = found
        try:
            shared.note_health(msgspec.structs.replace(report, troubles=troubles))
        except OSError as error:
            text = f"what is seen of Redis cannot be told to other workers ({error.strerror})"
            fix = "free the disk of TMPDIR"
            found = trouble("unwritten", f"{text}: {fix}")
        self._health.note("watch", found)

    async def _trouble(self, store: Watched, refusal: StoreUnavailable | None) -> Trouble | None:
        """Why the store is of no use: the trial of a write, real calls, missing rights."""
        found = refusal or store.refused.latest(REFUSED_FOR)
        refused = found is not None and found.code == "NOPERM"
        if refused or self._missing or time.monotonic() - self._rights_at >= RIGHTS_EVERY:
            with suppress(StoreUnavailable):
                self._missing = await store.missing_rights()
                self._rights_at = time.monotonic()
        if self._missing and (found is None or found.code == "NOPERM"):
            return _missing_rights(self._missing, store.where, found)
        answers = self._answers.look()
        return answers if found is None else trouble_of(found, store.where)

    # Other workers.

    def _report(self) -> HealthReport:
        health = self._health
        return HealthReport(
            at=time.monotonic(),
            by=self._own,
            troubles=health.troubles,
            notices={name: str(text) for name, text in health.notices.items()},
            accepted=self._durability.accepted or {},
            losses=self._loss_watch.state,
        )

    def _adopt(self, store: Watched, report: HealthReport | None) -> None:
        """Takes over what the worker that looks has seen, and adds what it does not know."""
        report = report or HealthReport(at=0.0)
        troubles = dict(report.troubles)
        if (last := store.refused.latest(REFUSED_FOR)) is not None:
            troubles.setdefault("store", trouble_of(last, store.where))
        if (found := self._answers.look()) is not None:
            troubles.setdefault("store", found)
        self._health.adopt(troubles, report.notices)


def _report_in(shared: SharedFolder) -> HealthReport | None:
    try:
        return shared.health(HealthReport)
    except (OSError, msgspec.MsgspecError):
        return None


def _missing_rights(missing: list[str], where: str, error: StoreUnavailable | None) -> Trouble:
    """Which rights its user needs, in the words of `ACL SETUSER`."""
    said = f"Redis refuses (NOPERM): {error.reason}" if error else "Redis refuses (NOPERM)"
    if {"get", "set", "xadd", "hset"} <= set(missing):
        fix = "give it all keys under the prefix"
    else:
        fix = "give it " + " ".join(f"+{right}" for right in missing)
    text = f"{said}; the user in NEXTBEST_REDIS_URL lacks rights: {fix}"
    return Trouble("NOPERM", f"{text} (at {where})", text)
