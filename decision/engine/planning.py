"""A decision made on one state of the customer, before anything is reserved or logged."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import msgspec

from decision.core import calendar, consent, event_effects, records
from decision.core.budgets import Spending, WantedUnits
from decision.core.coupons import WantedCode
from decision.core.decide import Question, Verdict, choose_nothing, decide_in_steps
from decision.core.definition import Selector
from decision.core.document import ConsentChange, Document
from decision.core.errors import InputError
from decision.core.event_effects import OPTING_OUT, Occurrence
from decision.core.journeys.state import has_abouts, without_abouts
from decision.core.masks import mask_of_array
from decision.core.ports import ReadResult
from decision.core.schema import DecisionRequest
from decision.core.steps import Steps
from decision.engine.events import occurrence_of
from decision.engine.journeys.work import JourneyWork, begin
from decision.engine.runtime import EngineSettings
from decision.engine.snapshot import Snapshot

_AFTER_DEADLINE = 0.1
"""Seconds after the deadline at which a call to the store ends by itself."""


class AskingStep(Protocol):
    """A step of a journey that asks for a decision, which takes the run on in its own commit."""

    @property
    def of(self) -> Selector | msgspec.UnsetType:
        """What it asks for; UNSET: everything."""

    def resume(self, snapshot: Snapshot, document: Document, now: int) -> JourneyWork:
        """Brings the run to the step, on the latest state.

        Raises:
            WentOn: it does not ask any more.
        """

    def holds(self, verdict: Verdict) -> bool:
        """Whether it will ask again, since time alone is in the way: then no fallback is given."""

    def go_on(self, plan: DecisionPlan) -> int:
        """Takes the run on from the step, by what was decided; until when its timer is held."""


class DecisionQuery:
    """What is asked: one request, put to one snapshot at one time.

    `budget_limits` is counter → its limit now; `deadline` is the seconds that it may take. `step`
    is what asks, where that is a step of a journey.
    """

    def __init__(
        self,
        request: DecisionRequest,
        snapshot: Snapshot,
        settings: EngineSettings,
        now: int,
        step: AskingStep | None = None,
    ) -> None:
        self.request = request
        self.snapshot = snapshot.at(request.placement)
        self.settings = settings
        self.now = now
        self.step = step
        self.question = Question(
            placement=request.placement,
            channels=tuple(request.channels) if request.channels is not None else None,
            event=request.event,
            context=request.context,
            limit=request.limit,
            of=msgspec.UNSET if step is None else step.of,
        )
        self.budget_limits = snapshot.policy.budgets.at(now)
        self.deadline = request.deadline_ms / 1000 if request.deadline_ms else settings.timeout
        self.began = time.perf_counter()

    def elapsed(self) -> float:
        """The seconds since it was asked."""
        return time.perf_counter() - self.began

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.elapsed() >= self.deadline

    def left(self) -> float:
        """The seconds that a call to the store may take: it is the deadline that ends it first."""
        left = self.deadline - (time.perf_counter() - self.began)
        return left + _AFTER_DEADLINE if left > 0 else _AFTER_DEADLINE


class DecisionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A decision made on one state of the customer; nothing is reserved or logged yet.

    `event` is the request's own, where it is to be recorded, `heard` the consents that it changes.
    `seen` is the document as stored, with that event in it, and with the opt-out of one that is not
    recorded; without the evidence of consents. `spent` is the mask
    of candidates whose budgets were spent, `draws` the numbers drawn. `selections`, with their
    features, and `shadow` are for the log, as scored before any contact is added; a dry run has
    none. `journeys` is what the decision's commit does to journeys, None where that is nothing.
    """

    query: DecisionQuery
    state: ReadResult
    decision_id: str
    event: Occurrence | None
    heard: Sequence[ConsentChange]
    seen: bytes
    spent: int
    draws: list[float]
    verdict: Verdict
    selections: list[records.GivenLine]
    shadow: records.LoggedShadow | None
    degraded: list[str]
    journeys: JourneyWork | None = None

    @property
    def model_version(self) -> str | None:
        """The version that scored what is given first; else what scores without a narrower one."""
        mixed, chosen = self.query.snapshot.mixed, self.verdict.chosen
        if mixed is None or not chosen:
            return self.query.snapshot.model_version
        return mixed.version_of(chosen[0].candidate)

    @property
    def events(self) -> list[Occurrence]:
        """The events that are applied with it: its own, if it has one, and moments."""
        own = [] if self.event is None else [self.event]
        return own if self.journeys is None else [*own, *self.journeys.moments]

    def units_to_take(self, lasts: int) -> WantedUnits | None:
        """The units that the selections take of budgets, remembered for so many microseconds.

        A unit of a reservation which then releases comes back by itself as that ends.
        """
        query, chosen = self.query, self.verdict.chosen
        if not query.budget_limits:
            return None
        limits: dict[str, int] = {}
        ends: dict[str, int] = {}
        for limit in query.budget_limits.values():
            for row in chosen:
                if not limit.mask >> row.candidate & 1:
                    continue
                message, channel = query.snapshot.policy.pairs[row.candidate]
                unit = limit.unit(row.candidate, message.name)
                if unit is not None:
                    limits[unit] = limit.amount
                    if channel.reservation.then == "release":
                        ends[unit] = query.now + channel.reservation.expires_after
        return WantedUnits(limits, ends, lasts) if limits else None

    def codes_to_take(self) -> dict[str, dict[int, WantedCode]]:
        """Coupon pool → candidate → the code that is taken for it.

        A code that comes back rests while the answer, which names it, may be given again.
        """
        found: dict[str, dict[int, WantedCode]] = {}
        policy, now = self.query.snapshot.policy, self.query.now
        kept = policy.settings.request_id_lasts if self.query.request.request_id else 0
        for row in self.verdict.chosen:
            message, channel = policy.pairs[row.candidate]
            if not message.coupon:
                continue
            after, reserved = policy.coupons[message.coupon].give_back_after, channel.reservation
            found.setdefault(message.coupon, {})[row.candidate] = WantedCode(
                message.name,
                now + max(reserved.expires_after, kept) if reserved.then == "release" else None,
                None if after is None else now + max(after, kept),
                now + kept,
            )
        return found


def _logged(document: Document, seen: bytes, pack: Callable[[Document], bytes]) -> bytes:
    """The customer as a decision logs it: without what no decision needs, and each would log."""
    consents, journeys = document.consents, document.journeys
    evident = consent.has_evidence(consents)
    if evident:
        consents = consent.without_evidence(consents)
    if journeys is not None and has_abouts(journeys):
        journeys = without_abouts(journeys)
    elif not evident:
        return seen
    return pack(msgspec.structs.replace(document, consents=consents, journeys=journeys))


@contextmanager
def _about_the_event() -> Iterator[None]:
    """What is wrong with the request's own event is wrong with the request.

    Raises:
        InputError: with the place in the request.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"event.{error.path}", error.detail) from None
    except event_effects.AmbiguousContact as error:
        raise InputError("event.message", str(error)) from None


def plan(
    query: DecisionQuery,
    state: ReadResult,
    decision_id: str,
    pack: Callable[[Document], bytes],
    *,
    overlong: int = 0,
    contended: bool = False,
    together: bool = False,
) -> Steps[DecisionPlan]:
    """Decides on a state, in steps. The request's own event, if it is new, is applied to
    `state.document`.

    `pack` turns a document into bytes as the store would. `overlong` is the mask of candidates
    whose text turned out to be longer than any may be. A `contended` decision chooses nothing:
    that breaks no cap. It gives way between its steps where others decide `together` with it.
    """
    snapshot, request, now = query.snapshot, query.request, query.now
    document, event, seen = state.document, _new_event(query, state), state.raw
    heard: Sequence[ConsentChange] = ()
    journeys: JourneyWork | None = None
    if request.ask_again:
        journeys = JourneyWork(snapshot, document, now, state.known_events)
        journeys.look()
    elif event is not None:
        journeys = begin(snapshot, document, now, state.known_events)
    if event is not None:
        with _about_the_event():
            heard = event_effects.apply(document, event, snapshot.policy, snapshot.measures, now)
        if journeys is not None:
            journeys.applied(event)
        seen = pack(document)
    elif query.step is not None:
        journeys = query.step.resume(snapshot, document, now)
        seen = pack(document)
    elif (told := request.event) is not None and told.id is None and told.type in OPTING_OUT:
        document = msgspec.structs.replace(document)  # it informs this decision alone
        with _about_the_event():
            occurrence = occurrence_of(told, "", now)
            kind = event_effects.kind_of(document, occurrence)
            event_effects.opt_out(document, occurrence, kind, snapshot.policy, now)
        seen = pack(document)
    seen = _logged(document, seen, pack)
    limits, spent, spending = query.budget_limits, 0, None
    if limits:
        spending = Spending(limits, state.budgets)
        spent = spending.blocked()
    draw = _Draw(query.settings.seed, request, len(document.contacts))
    if together:
        yield
    verdict = yield from decide_in_steps(
        snapshot.policy,
        snapshot.matcher,
        snapshot.scorer,
        document,
        query.question,
        now,
        draw,
        spent=spent,
        spending=spending,
        exploration=snapshot.exploration,
        unproven=snapshot.unproven,
        contents=snapshot.contents,
        overlong=overlong,
        decision_id=decision_id,
        arithmetic=snapshot.arithmetic,
        together=together,
    )
    degraded = list(snapshot.degraded)
    if snapshot.lacking and snapshot.lacking & mask_of_array(verdict.scores.candidates):
        degraded.append("model")
    if document.timezone and calendar.known_zone(document.timezone) is None:
        degraded.append("timezone")
    if contended:
        choose_nothing(snapshot.policy, verdict)
        degraded.append("contention")
    if query.step is not None and verdict.outcome == "fallback" and query.step.holds(verdict):
        verdict.outcome, verdict.fallback = "none", None
    return DecisionPlan(
        query=query,
        state=state,
        decision_id=decision_id,
        event=event,
        heard=heard,
        seen=seen,
        spent=spent,
        draws=draw.drawn,
        verdict=verdict,
        selections=[] if request.dry_run else _selections(snapshot, verdict),
        shadow=None if request.dry_run else _shadow(snapshot, verdict),
        degraded=degraded,
        journeys=journeys,
    )


def _new_event(query: DecisionQuery, state: ReadResult) -> Occurrence | None:
    """The request's own event, where it has an id that is not known yet."""
    event = query.request.event
    if event is None or event.id is None or event.id in state.known_events:
        return None
    return occurrence_of(event, event.id, query.now)


def _selections(snapshot: Snapshot, verdict: Verdict) -> list[records.GivenLine]:
    """What is logged of the candidates chosen."""
    document, now, candidates = verdict.document, verdict.now, snapshot.policy.candidates
    mixed = snapshot.mixed
    return [
        records.GivenLine(
            candidates[row.candidate].message,
            candidates[row.candidate].channel,
            row.response_probability,
            row.priority,
            row.selection_probability,
            snapshot.scorer.features(row.candidate, verdict.values, document, now),
            row.uplift,
            None,
            None if mixed is None else [mixed.version_of(row.candidate)],
        )
        for row in verdict.chosen
    ]


def _shadow(snapshot: Snapshot, verdict: Verdict) -> records.LoggedShadow | None:
    """What the challenger says of the survivors, where there is one."""
    shadow, candidates = snapshot.shadow, verdict.scores.candidates
    if shadow is None or shadow.version is None or not len(candidates):
        return None
    found = shadow.score(candidates, verdict.values, verdict.document, verdict.now)
    return records.LoggedShadow(shadow.version, found.tobytes())


class _Draw:
    """Draws numbers in [0, 1): fresh ones, or always the same for one seed and request."""

    def __init__(self, seed: str | None, request: DecisionRequest, contacts: int) -> None:
        self.drawn: list[float] = []
        self._source: str | None = None
        if seed is not None:
            who = request.customer_id or (request.alias and request.alias.value)
            about = request.request_id or (request.event and request.event.id) or f"#{contacts}"
            self._source = "\x1f".join([seed, str(who), about, request.placement])

    def __call__(self) -> float:
        if self._source is None:
            number = random.random()
        else:
            text = f"{self._source}\x1f{len(self.drawn)}"
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            number = (int.from_bytes(digest, "big") >> 11) / (1 << 53)
        self.drawn.append(number)
        return number
