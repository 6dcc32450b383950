"""Puts every request to both policies, one line after another, and counts what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from decision.archive.replays import ArchivedReplay, read_replays
from decision.core.clock import from_micros, to_micros
from decision.core.definition import PolicyDefinition, Selector
from decision.core.policy_builder import compile_policy
from decision.core.schema import DecisionRequest, Event
from decision.engine import InputError
from decision.intake.lines import lines_of, open_bytes
from decision.progress import SILENT, Progress
from decision.scoring.model import Model
from decision.simulation.acting import JourneyTally
from decision.simulation.off_policy import OffPolicy, off_policy
from decision.simulation.side import Simulated, changed
from decision.simulation.tally import Side, Tally
from decision.simulation.world import LineReader, lines_with_progress

_MOST_SAID = 10


class Simulation:
    """A new policy, an old one or none, and what came of it so far."""

    def __init__(
        self,
        new: Simulated,
        old: Simulated | None,
        progress: Progress = SILENT,
        *,
        first: int = 0,
    ) -> None:
        self.progress = progress
        self.new = new
        self.old = old
        self.tally = Tally(old is not None, new.groups)
        self.acting = JourneyTally(first)
        self.off_policy: OffPolicy | None = None
        self.sides = [side for side in (old, new) if side is not None]
        for side in self.sides:  # what carries no time is decided by both at the same one
            side.world.now = new.world.now

    @property
    def acts(self) -> bool:
        """Whether a policy has journeys or moments."""
        return any(side.world.engine.snapshot.policy.journeys for side in self.sides)

    async def act(self, customers: str | None, requests: str | None, lasts: int) -> None:
        """Requests and events of a file, and then `lasts` microseconds, with journeys that go on.

        Everything begins at the time of the first line.

        Raises:
            OSError: it cannot be read.
        """
        begins = None if requests is None else first_time(requests)
        for side in self.sides:
            side.act(self.acting, old=side is self.old)
            side.world.now = begins or side.world.now
        if customers is not None:
            await self.load(customers)
        if requests is not None:
            await self.requests(requests)
        until = max(side.world.now for side in self.sides) + lasts
        self.acting.until = from_micros(until)
        with self.progress.bar("Journeys"):
            for side in self.sides:
                await side.elapse(until)

    async def load(self, customers: str) -> None:
        """Loads customers into both worlds; the first rows that are refused are named, once."""
        said: set[str] = set()

        def tell(problem: str) -> None:
            if problem not in said and len(said) < _MOST_SAID:
                said.add(problem)
                self.progress.say(problem)

        bad = [await side.world.load(customers, tell) for side in self.sides]
        self.tally.bad_customers = max(bad)
        if len(set(bad)) > 1:
            self.tally.cautions.append(
                f"the old policy could not load {bad[0]:,} customers, the new one {bad[1]:,}: a "
                "customer that was not loaded is unknown to it, so results are not comparable"
            )

    async def requests(self, path: str) -> None:
        """A file of requests and events, in its order.

        Raises:
            OSError: it cannot be read.
        """
        lines, latest, back = LineReader(), 0, 0
        with lines_with_progress(path, self.progress) as numbered:
            for number, line in numbered:
                try:
                    found = lines.read(line)
                    if isinstance(found, Event):
                        if found.id is None and self.acts:  # what it starts draws by its id
                            found = msgspec.structs.replace(found, id=f"line-{number}")
                        await self._tell(found)
                    else:
                        await self._ask(found, f"line {number}")
                except InputError as error:
                    self._refuse(f"{path}:{number}: {error}")
                now = self.new.world.now
                back, latest = back + (now < latest), max(now, latest)
        if back:
            self.tally.cautions.append(
                f"{back:,} {'line is' if back == 1 else 'lines are'} older than a line before, so "
                "contacts made later count there; sort the file by time"
            )

    async def log(self, archive: Path) -> None:
        """The decisions of an archive, each for the customer as logged, except for the contacts.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        with self.progress.bar("Decisions") as move:
            await self.replay(read_replays(archive), move)

    async def replay(
        self,
        decisions: Iterable[ArchivedReplay],
        move: Callable[[float], None] = lambda done: None,
    ) -> None:
        """`log` for decisions from anywhere, those of one customer in the order of their times."""
        for number, replay in enumerate(decisions, 1):
            for side in self.sides:
                await side.become(replay.document)
            try:
                question = request_of(replay), replay.decision_id, replay.question.of
                await self._ask(*question, logged=True)
            except InputError as error:
                self._refuse(f"decision {replay.decision_id}: {error}")
            if number % 256 == 0:
                move(number)

    def doubt(self, logged: PolicyDefinition | None) -> None:
        """Says which event histories the logged customers lack, because no rule asked for them."""
        if logged is None:
            return
        kept = compile_policy(logged).measures()
        for name, side in (("old", self.old), ("new", self.new)):
            if side is None:
                continue
            needed = compile_policy(side.world.definition).measures()
            lacking = [
                event
                for event, measure in sorted(needed.items())
                if event not in kept or measure | kept[event] != kept[event]
            ]
            if lacking:
                self.tally.cautions.append(
                    f"the {name} rules read more of the events {', '.join(lacking)} than those "
                    "of the latest logged decision; conditions on them may see too little"
                )

    def judge(
        self,
        archive: Path,
        new: PolicyDefinition,
        old: PolicyDefinition | None,
        model: Model | None,
    ) -> None:
        """Estimates from the log what the policies would have earned, where it can tell."""
        with self.progress.bar("Estimating"):
            self.off_policy = off_policy(archive, new, old, model)

    async def _tell(self, event: Event) -> None:
        answers = [await side.tell(event) for side in self.sides]
        for answer in answers:
            if answer.rejected:
                raise InputError("", answer.rejected[0].detail)
        self.tally.events += answers[-1].accepted

    async def _ask(
        self,
        request: DecisionRequest,
        name: str,
        of: Selector | msgspec.UnsetType = msgspec.UNSET,
        logged: bool = False,
    ) -> None:
        sides: list[Side | None] = []
        refused: list[InputError] = []
        for side in self.sides:
            try:
                sides.append(await side.ask(request, name, of, logged))
            except InputError as error:
                refused.append(error)
                sides.append(side.refuse(request, str(error)))
        if len(refused) == len(self.sides):
            raise refused[-1]
        new, old = sides[-1], sides[0] if self.old is not None else None
        if None in sides or new is None:
            self.tally.repeated += 1
            return
        self.tally.add(old, new)
        if self.old is None or old is None:
            return
        lost, gained = changed(old, new)
        for choice in lost:
            self.tally.explain(choice.name, self.new.cause(choice), lost=True)
        for choice in gained:
            self.tally.explain(choice.name, self.old.cause(choice), lost=False)

    def _refuse(self, problem: str) -> None:
        self.tally.errors += 1
        if self.tally.errors <= _MOST_SAID:
            self.progress.say(problem)


def first_time(path: str) -> int | None:
    """The time of the first line of a file that has one, in microseconds; None without one, and of
    a stream, which can be read but once.

    Raises:
        OSError: it cannot be read.
    """
    if path == "-":
        return None
    lines = LineReader()
    with open_bytes(path) as source:
        for _, line in lines_of(source):
            try:
                found = lines.read(line)
            except InputError:
                continue
            event = found if isinstance(found, Event) else found.event
            at = found.at or (event.at if event is not None else None)
            if at is not None:
                return to_micros(at)
    return None


def request_of(replay: ArchivedReplay) -> DecisionRequest:
    """The request of a logged decision; its event is in the customer's history already."""
    question = replay.question
    event = question.event
    if event is not None and event.id is not None:
        event = msgspec.structs.replace(event, id=None)
    return DecisionRequest(
        placement=question.placement,
        customer_id=replay.customer_id,
        event=event,
        context=question.context,
        channels=list(question.channels) if question.channels is not None else None,
        limit=question.limit,
        at=from_micros(replay.decided_at),
    )
