"""The whole learning loop in the simulated shop: act, log, archive, train, evaluate, promote.

    python -m benchmarks.loop [--rounds 20] [--decisions 3000] [--out loop.png]

A round is a day. Customers are decided for through a real engine and Redis, and respond with a
probability that the shop knows and nobody else. In the evening the log is archived, a model is
trained on all of it, its value is estimated from the day's log alone, and it is promoted if it
passes the gate; each by the command a user would run. Printed, and drawn, is for each round

- *regret*: what the best of the candidates that could have been said was truly worth, less what
  was said, as a share of the best; beside it that of choosing at random among them;
- for each estimator whether its interval holds the true value of the new policy on that day.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from decision.archive.replays import read_replays
from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY, HOUR, MINUTE, from_micros
from decision.core.decide import Verdict
from decision.core.definition import PolicyDefinition
from decision.core.document import ContactState, Document
from decision.core.policy import Policy
from decision.core.schema import Decision, DecisionRequest, Event
from decision.engine import Engine, EngineSettings, build_snapshot
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
from decision.store import EmbeddedRedis, RedisStore

HERE: Final = Path(__file__).resolve().parent
RULES: Final = HERE.parent / "rules"
ESTIMATORS: Final = ("ips", "snips", "dr", "sndr", "switch_dr")
PLACEMENTS: Final = ("app_home", "outbound", "outbound")
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
lightgbm: {learning_rate: 0.08, num_leaves: 15, min_data_in_leaf: 30, cat_smooth: 20}
rounds: 150
early_stopping: 20
seed: 7
cross_fit: 3
calibration: platt
exploration: {from: 0, to: 5000, over: 40000}
promotion:
  first: {skill_at_least: -5%}
  skill_at_least: -0.5%
"""
"""The gate lets pass what predicts no worse, which a day's log can show: see docs/evaluation.md."""
FLOOR: Final = "exploration: 100\n  exploration_floor: 1%\n  exploration_until: 300"
"""So that a message which begins later (one does, on day 14) is tried until something is known."""


class Day(NamedTuple):
    """What came of one round. Worth is in the policy's currency, a decision."""

    round: int
    decisions: int
    responses: int
    worth: float
    best: float
    random: float
    truth: float
    estimates: dict[str, tuple[float, float, float]]
    promoted: bool
    version: str

    @property
    def regret(self) -> float:
        """The share of the best worth that was missed."""
        return 1 - self.worth / self.best

    @property
    def random_regret(self) -> float:
        """The same for choosing at random."""
        return 1 - self.random / self.best

    def covers(self, estimator: str) -> bool | None:
        """Whether the estimator's interval holds the truth; None where there is none."""
        if estimator not in self.estimates:
            return None
        _, low, high = self.estimates[estimator]
        return low <= self.truth <= high


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

    def __init__(self, home: Path, url: str, seed: int, customers: int, decisions: int) -> None:
        self.home = home
        self.url = url
        self.shop = Shop(seed, customers)
        self.decisions = decisions
        self.archive = home / "archive"
        self.models = home / "models"
        self.models.mkdir(parents=True)
        (self.models / "loop.yaml").write_text(SPEC, "utf-8")
        self.seed = seed
        self.rules = home / "rules"
        _copy_rules(self.rules)
        definition = load_folder(self.rules).definition
        assert definition is not None
        self.definition: PolicyDefinition = definition
        self.by_id = {customer.customer_id: customer for customer in self.shop.customers}
        self.store = RedisStore(url)
        self.engine = Engine(self.store, EngineSettings(seed=f"loop-{seed}"))

    async def open(self) -> None:
        """Loads the customers."""
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
        spec = load_spec(self.models / "loop.yaml")
        self.engine.use(
            await build_snapshot(
                self.definition,
                model,
                self.store,
                from_micros(self.shop.now),
                durable=False,
                features=spec.features,
            )
        )

    async def run(self, rounds: int, tell: Callable[[Day], None]) -> list[Day]:
        """All rounds."""
        await self.open()
        days = []
        for number in range(1, rounds + 1):
            days.append(await self.day(number))
            tell(days[-1])
        await self.store.close()
        return days

    async def day(self, number: int) -> Day:
        """One round."""
        worth, best, chance, responses = await self._act(number)
        self._command("archive", "--out", self.archive, "--keep", "0", "--redis-url", self.url)
        trained = self._command(
            "train", self.models / "loop.yaml", "--log", self.archive, "--rules", self.rules,
            "--models", self.models, "--no-report",
        )  # fmt: skip
        version = Path(trained["folder"])
        model = load_model(version)
        today = self._view(number)
        witnesses = witnesses_of(version, model.manifest)
        estimates = self._evaluate(today, model, witnesses)
        truth = self._truth(today, witnesses)
        promoted = self._promote(version)
        if promoted:
            await self.use(model)
        count = self.decisions
        return Day(
            number,
            count,
            responses,
            worth / count,
            best / count,
            chance / count,
            truth,
            estimates,
            promoted,
            version.name,
        )

    async def _act(self, number: int) -> tuple[float, float, float, int]:
        draw = Random(f"{self.seed}/day/{number}").random
        start = self.shop.now + number * DAY
        times = sorted(start + int(draw() * 12 * HOUR) for _ in range(self.decisions))
        worth = best = chance = 0.0
        responses = 0
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
            got, most, mean = self._worth(customer, verdict)
            worth, best, chance = worth + got, best + most, chance + mean
            responses += await self._respond(customer, decision, verdict)
        # Somebody comes back at night: by then it is known who has responded.
        late = Event(
            type="page_view", customer_id=customer.customer_id, at=from_micros(times[-1] + 3 * HOUR)
        )
        await self.engine.events.record([late], now=times[-1] + 3 * HOUR)
        return worth, best, chance, responses

    def _worth(self, customer: ShopCustomer, verdict: Verdict) -> tuple[float, float, float]:
        """(what was said, the best, the mean) of what could be said, truly worth; silence is 0."""
        policy = self.engine.snapshot.policy
        scores = verdict.scores
        true = _true_probabilities(
            self.shop, policy, customer, scores.candidates.tolist(), verdict.document, verdict.now
        )
        each = (
            true * policy.message_values[scores.candidates] * scores.lever
            - policy.costs[scores.candidates]
        )
        chosen = {row.candidate for row in verdict.chosen}
        got = sum(
            float(value)
            for value, candidate in zip(each, scores.candidates.tolist(), strict=True)
            if candidate in chosen
        )
        if not len(each):
            return 0.0, 0.0, 0.0
        return got, max(0.0, float(each.max())), float(each.mean())

    async def _respond(self, customer: ShopCustomer, decision: Decision, verdict: Verdict) -> int:
        policy = self.engine.snapshot.policy
        now = verdict.now
        for row in verdict.chosen:
            candidate = policy.candidates[row.candidate]
            before = recent(verdict.document, now)
            responded = self.shop.respond(customer, candidate, now, before)
            kind = "message.clicked" if responded else "message.shown"
            await self.engine.events.record(
                [
                    Event(
                        type=kind,
                        id=f"{decision.decision_id}-{candidate.message}",
                        customer_id=customer.customer_id,
                        decision_id=decision.decision_id,
                        message=candidate.message,
                        at=from_micros(now + 5 * MINUTE),
                    )
                ],
                now=now + 5 * MINUTE,
            )
            if responded:
                return 1
        return 0

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
            EvaluationRequest(
                spec=load_spec(self.models / "loop.yaml"), options=EvaluationOptions(bootstrap=0)
            ),
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
            count += 1
            if not len(verdict.scores.candidates):
                continue
            true = _true_probabilities(
                self.shop,
                own.policy,
                self.by_id[replay.customer_id],
                verdict.scores.candidates.tolist(),
                replay.document,
                replay.decided_at,
            )
            total += float((true * verdict.scores.selection).sum())
        return total / max(1, count)

    def _promote(self, version: Path) -> bool:
        """The gate looks at all days, by the witnesses of this version and of the one in force."""
        arguments = ["promote", version.name, "--models", self.models, "--log", self.archive]
        arguments += ["--rules", self.rules, "--spec", self.models / "loop.yaml"]
        return self._command(*arguments, fine=(0, 1)) is not None

    def _command(self, *arguments: object, fine: Sequence[int] = (0,)) -> Any:
        """What a command prints as JSON; None where it says no."""
        done = subprocess.run(
            [sys.executable, "-m", "decision.cli", *map(str, arguments), "--json"],
            capture_output=True,
            text=True,
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
            check=False,
        )
        if done.returncode not in fine:
            raise RuntimeError(f"nextbest {arguments[0]}: {done.stderr or done.stdout}")
        if done.returncode == 0:
            return json.loads(done.stdout)
        return None


def _true_probabilities(
    shop: Shop,
    policy: Policy,
    customer: ShopCustomer,
    candidates: Sequence[int],
    document: Document,
    now: int,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    before = recent(document, now)

    def one(candidate: CandidateInfo) -> float:
        return shop.response_probability(customer, candidate, now, before)

    return np.array([one(policy.candidates[index]) for index in candidates])


def run(
    rounds: int,
    decisions: int,
    customers: int,
    seed: int,
    tell: Callable[[Day], None] = lambda day: None,
) -> list[Day]:
    """The loop in a folder and a Redis of its own."""
    with TemporaryDirectory() as name, EmbeddedRedis(Path(name) / "redis") as url:
        loop = Loop(Path(name), url, seed, customers, decisions)
        return asyncio.run(loop.run(rounds, tell))


def line(day: Day) -> str:
    """A round in one line."""
    covered = "".join(
        "-" if (held := day.covers(name)) is None else " *"[held] for name in ESTIMATORS
    )
    return (
        f"{day.round:>5}  {day.responses / day.decisions:>9.4f}  {day.regret:>7.3f}  "
        f"{day.random_regret:>7.3f}  {day.truth:>7.4f}  "
        f"{day.estimates.get('snips', (float('nan'),))[0]:>7.4f}  "
        f"{day.estimates.get('dr', (float('nan'),))[0]:>7.4f}  [{covered}]  "
        f"{'promoted' if day.promoted else 'refused'} {day.version}"
    )


HEAD: Final = "round  responses   regret   random    truth    snips       dr  [held]"


def coverage(days: Sequence[Day]) -> dict[str, tuple[int, int]]:
    """Estimator → (rounds in which its interval held the truth, rounds)."""
    found: Counter[str] = Counter()
    rounds: Counter[str] = Counter()
    for day in days:
        for name in ESTIMATORS:
            held = day.covers(name)
            if held is not None:
                rounds[name] += 1
                found[name] += held
    return {name: (found[name], rounds[name]) for name in rounds}


def draw(days: Sequence[Day], path: Path) -> None:
    """The picture: regret by round, and what the day before said of it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rounds = [day.round for day in days]
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(9, 8), sharex=True, layout="constrained"
    )
    above.plot(
        rounds, [100 * day.random_regret for day in days], color="#9aa5b1", label="at random"
    )
    above.plot(
        rounds, [100 * day.regret for day in days], color="#2463c9", marker="o", label="the loop"
    )
    refused = [day for day in days if not day.promoted]
    above.plot(
        [day.round for day in refused],
        [100 * day.regret for day in refused],
        "x", color="#b3332b", markersize=9, label="new model refused that evening",
    )  # fmt: skip
    above.set_ylabel("regret, % of the best that could be said")
    above.set_ylim(bottom=0)
    above.legend()
    above.grid(alpha=0.3)
    for shift, name, colour in ((-0.15, "snips", "#c9822a"), (0.15, "dr", "#2463c9")):
        known = [day for day in days if name in day.estimates]
        middle = [day.estimates[name][0] for day in known]
        spread = [
            [day.estimates[name][0] - day.estimates[name][1] for day in known],
            [day.estimates[name][2] - day.estimates[name][0] for day in known],
        ]
        below.errorbar(
            [day.round + shift for day in known], middle, spread, fmt="o", ms=4, color=colour,
            label=f"{name.upper()}, 95 % interval",
        )  # fmt: skip
    below.plot(rounds, [day.truth for day in days], "_", color="black", ms=16, mew=2, label="truth")
    below.set_ylabel("responses a decision of the new policy")
    below.set_xlabel("round (a day)")
    below.set_xticks(rounds)
    below.legend()
    below.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it and prints a line a round; 1 where regret has not fallen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--decisions", type=int, default=3000, help="a round")
    parser.add_argument("--customers", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, metavar="PNG")
    given = parser.parse_args(arguments)
    print(HEAD)
    days = run(
        given.rounds,
        given.decisions,
        given.customers,
        given.seed,
        lambda day: print(line(day), flush=True),
    )
    for name, (held, rounds) in coverage(days).items():
        print(f"{name:<10}95 % intervals held the truth in {held} of {rounds} rounds")
    if given.out is not None:
        draw(days, given.out)
        print(f"wrote {given.out}")
    third = max(1, len(days) // 3)
    first = np.mean([day.regret for day in days[:third]])
    last = np.mean([day.regret for day in days[-third:]])
    late = np.mean([day.regret for day in days[-5:]])
    print(
        f"regret: {first:.3f} in the first third, {last:.3f} in the last, {late:.3f} on the last 5 days"
    )
    return int(last >= first)


if __name__ == "__main__":
    sys.exit(main())
