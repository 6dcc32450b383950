"""A day of `benchmarks.loop`: the shop acts, and in the evening is learned what came of it.

The truth (what each candidate was worth, for the customer who was asked about) is read beside the
loop, and never by it.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks._loop_figures import ESTIMATORS, Day, Setup, Tally
from decision.archive.replays import read_replays
from decision.archive.service import ArchiveOptions, archive_log
from decision.cli.app import cli
from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY, HOUR, MINUTE, from_micros
from decision.core.decide import Verdict
from decision.core.definition import PolicyDefinition
from decision.core.document import ContactState, Document
from decision.core.policy import Policy
from decision.core.schema import Decision, DecisionRequest, Event
from decision.engine import PATIENCE, Engine, EngineSettings, build_snapshot
from decision.engine.loading import CustomerRow, Loading
from decision.evaluation.report import EvaluationOptions
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import BoundPolicy, Candidate, decide_bound
from decision.learning.folds import fold_of
from decision.learning.spec import load_spec
from decision.rulebook.reader import load_folder
from decision.scoring.loading import load_model
from decision.scoring.model import Model
from decision.scoring.witness import witnesses_of
from decision.simulation.people import ShopCustomer, as_line
from decision.simulation.shop import Shop
from decision.store import EmbeddedRedis, MemoryStore, RedisStore

Floats = np.ndarray[Any, np.dtype[np.float64]]

RULES: Final = Path(__file__).resolve().parent.parent / "rules"
PLACEMENTS: Final = ("app_home", "outbound", "outbound")
NEW: Final = "twelve-twelve"
"""The message that begins on day 14."""
SPEC: Final = """\
name: loop
target: {event: message.clicked, within: 2h}
features:
  customer.country: categorical
  customer.age: numeric
  customer.favourite_category: categorical
  customer.lifetime_spend: numeric
  events.app_open.active_days_28d: numeric
  time.hour: numeric
  message.name: categorical
  message.channel: categorical
  message.category: categorical
  message.purpose: categorical
  message.value: numeric
  message.tag.coupon: numeric
  contacts.count_7d: numeric
lightgbm: {learning_rate: 0.08, num_leaves: 15, min_data_in_leaf: 30, cat_smooth: 20, num_threads: 1}
rounds: 150
early_stopping: 20
seed: 7
cross_fit: 3
start: linear
calibration: platt
exploration: {from: 0, to: 5000, over: 40000}
promotion:
  first: {skill_at_least: -5%}
  skill_at_least: -2%
"""
"""The gate lets pass what predicts no worse, as far as a day's log can show it."""
FLOOR: Final = "exploration: 100\n  exploration_floor: 1%\n  exploration_until: 300"
"""So that a message which begins later is tried until something is known of it."""


def run(setup: Setup, seed: int, tell: Callable[[Day], None] = lambda day: None) -> list[Day]:
    """The loop of one seed, in a folder and a Redis of its own."""
    with TemporaryDirectory() as name:
        if setup.in_memory:
            return Loop(Path(name), None, setup, seed).run(tell)
        with EmbeddedRedis(Path(name) / "redis") as url:
            return Loop(Path(name), url, setup, seed).run(tell)


def _copy_rules(folder: Path) -> None:
    """The sample's rules with every message worth the same, every channel free, and no caps.

    What a message is worth is known from the first day on; left is what must be learned. Caps
    would let other messages be the best that can be said from day to day.
    """
    shutil.copytree(RULES, folder, ignore=shutil.ignore_patterns("tests", "contact_policy.yaml"))
    for path in folder.rglob("*.yaml"):
        text = re.sub(
            r"^(    value: )(?!0\b)[0-9.]+", r"\g<1>1", path.read_text("utf-8"), flags=re.M
        )
        text = re.sub(r"^(    cost: )[0-9.]+", r"\g<1>0", text, flags=re.M)
        text = text.replace("exploration: 100", FLOOR)
        path.write_text(text, "utf-8")


def recent(document: Document, now: int) -> int:
    """Contacts of the last seven days, as the shop's customers feel them."""
    return sum(
        now - 7 * DAY < contact.at < now and contact.state != ContactState.RELEASED
        for contact in document.contacts
    )


class Loop:
    """The shop, its store, and the folders that users of the commands would have."""

    def __init__(self, home: Path, url: str | None, setup: Setup, seed: int) -> None:
        self.home = home
        self.url = url
        self.setup = setup
        self.seed = seed
        self.shop = Shop(seed, setup.customers)
        self.archive = home / "archive"
        self.models = home / "models"
        self.models.mkdir(parents=True)
        self.spec = self.models / "loop.yaml"
        self.spec.write_text(SPEC, "utf-8")
        self.rules = home / "rules"
        _copy_rules(self.rules)
        definition = load_folder(self.rules).definition
        assert definition is not None
        self.definition: PolicyDefinition = definition
        self.by_id = {customer.customer_id: customer for customer in self.shop.customers}
        self.store: RedisStore | MemoryStore = (
            MemoryStore() if url is None else RedisStore(url, timeout=PATIENCE)
        )
        self.engine = Engine(self.store, EngineSettings(seed=f"loop-{seed}"))

    def run(self, tell: Callable[[Day], None]) -> list[Day]:
        """All rounds. Commands run between those of the engine, in this process."""
        days = []
        with asyncio.Runner() as runner:
            runner.run(self.open())
            for number in range(1, self.setup.rounds + 1):
                tally = runner.run(self.act(number))
                self._archive(runner)
                days.append(self._learn(number, tally))
                if days[-1].promoted:
                    runner.run(self.use(load_model(self.models / "loop" / days[-1].version)))
                tell(days[-1])
            if isinstance(self.store, RedisStore):
                runner.run(self.store.close())
        return days

    async def open(self) -> None:
        """Loads the customers."""
        if isinstance(self.store, RedisStore):
            await self.store.start()
        await self.use(None)
        loading = Loading(self.engine.runtime)
        for start in range(0, len(self.shop.customers), 200):
            rows = [
                msgspec.json.decode(as_line(customer), type=CustomerRow)
                for customer in self.shop.customers[start : start + 200]
            ]
            await asyncio.gather(*(loading.put(row, now=self.shop.now) for row in rows))

    async def use(self, model: Model | None) -> None:
        """Puts a model in force."""
        self.engine.use(
            await build_snapshot(
                self.definition,
                model,
                self.store,
                from_micros(self.shop.now),
                durable=False,
                features=load_spec(self.spec).features,
            )
        )

    async def act(self, number: int) -> Tally:
        """The decisions of a day, and what customers do then."""
        draw = Random(f"{self.seed}/day/{number}").random
        start = self.shop.now + number * DAY
        times = sorted(start + int(draw() * 12 * HOUR) for _ in range(self.setup.decisions))
        tally = Tally(decisions=len(times))
        for now in times:
            customer = self.shop.customers[int(draw() * len(self.shop.customers))]
            request = DecisionRequest(
                placement=PLACEMENTS[int(draw() * len(PLACEMENTS))],
                customer_id=customer.customer_id,
                context={"device": customer.attributes["device"]},
            )
            decided = await self.engine.decide_with_verdict(request, now=now)
            decision, verdict = decided.decision, decided.verdict
            assert verdict is not None
            self._add(tally, customer, verdict)
            tally.responses += await self._respond(customer, decision, verdict)
        # Somebody comes back at night: by then it is known who has responded.
        late = Event(
            type="page_view", customer_id=customer.customer_id, at=from_micros(times[-1] + 3 * HOUR)
        )
        await self.engine.events.record([late], now=times[-1] + 3 * HOUR)
        return tally

    def _add(self, tally: Tally, customer: ShopCustomer, verdict: Verdict) -> None:
        """Adds what could be said in a decision, truly worth."""
        policy, scores = self.engine.snapshot.policy, verdict.scores
        if not len(scores.candidates):
            return
        true = self._true_probabilities(policy, customer, verdict)
        worth = (
            true * policy.message_values[scores.candidates] * scores.lever
            - policy.costs[scores.candidates]
        )
        chosen = {row.candidate for row in verdict.chosen}
        tally.worth += float(
            sum(worth[place] for place, one in enumerate(scores.candidates) if one in chosen)
        )
        expected = float(scores.selection @ worth)
        best = max(0.0, float(worth.max()))
        tally.expected += expected
        drawn = scores.selection > 0
        if drawn.any():
            tally.greedy += float(worth[np.where(drawn, scores.priority, -np.inf).argmax()])
        tally.best += best
        tally.random += float(worth.mean())
        names = [policy.candidates[one].message for one in scores.candidates.tolist()]
        if best and names[int(worth.argmax())] == NEW:
            tally.new_decisions += 1
            tally.new_best += best
            tally.new_expected += expected
            tally.new_said += float(scores.selection[[name == NEW for name in names]].sum())

    async def _respond(self, customer: ShopCustomer, decision: Decision, verdict: Verdict) -> int:
        policy = self.engine.snapshot.policy
        now = verdict.now
        for row in verdict.chosen:
            candidate = policy.candidates[row.candidate]
            responded = self.shop.respond(customer, candidate, now, recent(verdict.document, now))
            event = Event(
                type="message.clicked" if responded else "message.shown",
                id=f"{decision.decision_id}-{candidate.message}",
                customer_id=customer.customer_id,
                decision_id=decision.decision_id,
                message=candidate.message,
                at=from_micros(now + 5 * MINUTE),
            )
            await self.engine.events.record([event], now=now + 5 * MINUTE)
            return int(responded)
        return 0

    def _true_probabilities(
        self, policy: Policy, customer: ShopCustomer, verdict: Verdict
    ) -> Floats:
        now, before = verdict.now, recent(verdict.document, verdict.now)

        def one(candidate: CandidateInfo) -> float:
            return self.shop.response_probability(customer, candidate, now, before)

        return np.array([one(policy.candidates[index]) for index in verdict.scores.candidates])

    def _archive(self, runner: asyncio.Runner) -> None:
        if self.url is not None:
            self._command(
                "archive", "--out", self.archive, "--keep", "0", "--redis-url", self.url,
                "--no-summaries",
            )  # fmt: skip
            return
        options = ArchiveOptions(folder=self.archive, keep=0)
        now = self.shop.now

        async def archive() -> None:
            await archive_log(self.store, options, lambda: now, asyncio.Event())

        runner.run(archive())

    def _learn(self, number: int, tally: Tally) -> Day:
        """The evening: a version is trained on all that is archived, judged, and put to the gate."""
        trained = self._command(
            "train", self.spec, "--log", self.archive, "--rules", self.rules,
            "--models", self.models, "--no-report",
        )  # fmt: skip
        version = Path(trained["folder"])
        truth, estimates = None, {}
        if number % self.setup.judged == 0:
            model = load_model(version)
            today, witnesses = self._view(number), witnesses_of(version, model.manifest)
            estimates = self._evaluate(today, model, witnesses)
            truth = self._truth(today, witnesses)
        # The gate looks at all days, by the witnesses of this version and of the one in force.
        promoted = self._command(
            "promote", version.name, "--models", self.models, "--log", self.archive,
            "--rules", self.rules, "--spec", self.spec, refused=1,
        )  # fmt: skip
        return Day(
            round=number,
            tally=tally,
            truth=truth,
            estimates=estimates,
            promoted=promoted is not None,
            version=version.name,
        )

    def _view(self, number: int) -> Path:
        """The archive of one day alone."""
        day = from_micros(self.shop.now + number * DAY).date().isoformat()
        view = self.home / f"day-{number}"
        for dataset in (path for path in self.archive.iterdir() if path.is_dir()):
            dates = sorted(dataset.glob("date=*"))
            if not dates:
                (view / dataset.name).parent.mkdir(parents=True, exist_ok=True)
                (view / dataset.name).symlink_to(dataset)
            for date in dates:
                if date.name == f"date={day}":
                    (view / dataset.name).mkdir(parents=True, exist_ok=True)
                    (view / dataset.name / date.name).symlink_to(date)
        return view

    def _evaluate(
        self, today: Path, model: Model, witnesses: Sequence[Model]
    ) -> dict[str, tuple[float, float, float]]:
        """The estimates of the day: of each decision by the witness that has not seen its customer,
        since the model has learned from it in the evening."""
        report = evaluate(
            today,
            Candidate(model=model, witnesses=tuple(witnesses)),
            EvaluationRequest(spec=load_spec(self.spec), options=EvaluationOptions(bootstrap=0)),
        )
        judged = report.policies[0].metrics["responses"]
        return {
            name: (one.estimate.value, *one.estimate.confidence_interval)
            for name, one in judged.items()
            if name in ESTIMATORS
        }

    def _truth(self, today: Path, witnesses: Sequence[Model]) -> float:
        """Responses a decision that their policies would truly have had that day."""
        bound = [BoundPolicy(self.definition, Candidate(model=one), None, ()) for one in witnesses]
        total, count = 0.0, 0
        for replay in read_replays(today):
            own = bound[fold_of(replay.customer_id, len(bound))]
            verdict = decide_bound(own, replay)
            customer = self.by_id[replay.customer_id]
            true = self._true_probabilities(own.policy, customer, verdict)
            total += float((true * verdict.scores.selection).sum())
            count += 1
        return total / max(1, count)

    def _command(self, *arguments: object, refused: int = 0) -> Any:
        """What a command prints as JSON; None where it ends with `refused`.

        It runs in this process: to start another one takes longer than most of them.
        """
        told = StringIO()
        with redirect_stdout(told):
            code = cli.main([*map(str, arguments), "--json"], "nextbest", standalone_mode=False)
        if refused and code == refused:
            return None
        if code:
            raise RuntimeError(f"nextbest {arguments[0]}: exit code {code}: {told.getvalue()}")
        return json.loads(told.getvalue())
