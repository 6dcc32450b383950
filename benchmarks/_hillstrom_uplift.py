"""Uplift on Hillstrom's customers: the policy beside constants, Qini beside scikit-uplift's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import evaluation, hillstrom
from benchmarks.hillstrom import ARMS, CAMPAIGN, Row
from decision.core.business_rules import PlainMatcher
from decision.core.decide import Question, decide
from decision.core.document import Document
from decision.core.policy_builder import compile_policy
from decision.learning.goals import goals_of
from decision.learning.ope import Estimate, snips
from decision.learning.spec import load_spec
from decision.learning.train import train_on_log
from decision.learning.uplift_curves import UpliftScores, uplift_scores
from decision.scoring.loading import load_model
from decision.scoring.scorers import bind, fields_read

SPEC: Final = hillstrom.HOME / "uplift.yaml"
COST: Final = 0.05
"""What an e-mail costs, in visits: between what the two of them bring about."""
MESSAGES: Final = [name for name in ARMS.values() if name is not None]

Array = NDArray[np.float64]


class Predicted(NamedTuple):
    """Customers who were not learned from, and each message's uplift for them, by method."""

    rows: list[Row]
    uplift: dict[str, dict[str, Array]]


def predict(train_half: Sequence[Row], test_half: Sequence[Row]) -> Predicted:
    """Learns from one half by each method that is installed, and predicts for the other."""
    found = {"nextbest": _ours(train_half, test_half)}
    try:
        methods = _scikit_uplift()
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed: no figures beside ours (make uplift installs it)")
        methods = {}
    for name, make in methods.items():
        found[name] = {
            message: _theirs(make(), message, train_half, test_half) for message in MESSAGES
        }
    return Predicted(list(test_half), found)


def _ours(train_half: Sequence[Row], test_half: Sequence[Row]) -> dict[str, Array]:
    rules = evaluation.without_threshold(evaluation.definition())
    with TemporaryDirectory() as home:
        log = evaluation.write_archive(Path(home) / "log", train_half, rules)
        spec = load_spec(SPEC)
        models = Path(home) / "models"
        model = load_model(train_on_log(spec, log, goals_of(rules, None), models, report=False))
    policy = compile_policy(rules, reads=fields_read(model))
    scorer = bind(model, policy.candidates, policy.fields, policy.settings)
    matcher = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
    now, question = hillstrom.micros(CAMPAIGN), Question(placement="outbound")
    names = [one.message for one in policy.candidates]
    found = []
    for row in test_half:
        document = Document(customer_id=row.customer_id, attributes=row.attributes)
        scores = decide(policy, matcher, scorer, document, question, now, lambda: 0.0).scores
        assert scores.uplift is not None
        found.append(scores.uplift)
    learned = model.manifest.uplift
    assert learned is not None
    losses = {name: round(loss, 6) for name, loss in learned.losses.items()}
    print(f"learned by the {learned.learner.upper()}-learner; R-losses {losses}")
    return dict(zip(names, np.array(found).T, strict=True))


def _scikit_uplift() -> dict[str, Callable[[], Any]]:
    from lightgbm import LGBMClassifier
    from sklift.models import ClassTransformation, TwoModels

    def learner() -> Any:
        return LGBMClassifier(
            n_estimators=60,
            learning_rate=0.05,
            num_leaves=8,
            min_child_samples=200,
            reg_lambda=5,
            random_state=7,
            n_jobs=1,
            verbosity=-1,
        )

    return {
        "class transformation": lambda: ClassTransformation(learner()),
        "two models": lambda: TwoModels(learner(), learner(), method="vanilla"),
    }


def _theirs(
    method: Any, message: str, train_half: Sequence[Row], test_half: Sequence[Row]
) -> Array:
    own = [row for row in train_half if row.arm in (None, message)]
    told = np.array([float(row.arm == message) for row in own])
    method.fit(_matrix(own), np.array([row.visit for row in own]), told)
    return np.asarray(method.predict(_matrix(test_half)), dtype=np.float64)


def _matrix(rows: Sequence[Row]) -> Array:
    codes = {
        name: {value: float(code) for code, value in enumerate(values)}
        for name, values in (
            ("zip_code", ("Rural", "Surburban", "Urban")),
            ("channel", ("Multichannel", "Phone", "Web")),
        )
    }
    return np.array(
        [
            [codes.get(name, {}).get(value, value) for name, value in row.attributes.items()]
            for row in rows
        ],
        dtype=np.float64,
    )


def scores(halves: Sequence[Predicted], method: str, message: str) -> UpliftScores:
    """Qini and AUUC of one message against silence, over the customers of both halves."""
    response, told, uplift = [], [], []
    for half in halves:
        for row, predicted in zip(half.rows, half.uplift[method][message].tolist(), strict=True):
            if row.arm in (None, message):
                response.append(float(row.visit))
                told.append(float(row.arm == message))
                uplift.append(predicted)
    found = uplift_scores(np.array(response), np.array(uplift), np.array(told))
    assert found is not None
    return found


def chosen(half: Predicted, method: str = "nextbest") -> list[str | None]:
    """What has the highest uplift less cost for each customer; None where none is above 0."""
    gains = np.column_stack([half.uplift[method][message] - COST for message in MESSAGES])
    best = gains.argmax(axis=1)
    return [
        MESSAGES[place] if gain > 0 else None
        for place, gain in zip(best.tolist(), gains.max(axis=1).tolist(), strict=True)
    ]


def net(choices: Sequence[str | None], rows: Sequence[Row]) -> Estimate:
    """Visits less the cost of e-mails, a customer, had these been chosen (SNIPS)."""
    return snips(
        [row.visit - COST * (row.arm is not None) for row in rows],
        np.full(len(rows), 1 / 3),
        [float(row.arm == each) for row, each in zip(rows, choices, strict=True)],
    )


def report(halves: Sequence[Sequence[Row]]) -> bool:
    """Prints the tables; whether the policy is worse than the best constant by more than its error."""
    both = [predict(halves[0], halves[1]), predict(halves[1], halves[0])]
    rows = [row for half in both for row in half.rows]
    found = {"uplift": net([one for half in both for one in chosen(half)], rows)}
    for method in list(both[0].uplift)[1:]:
        choices = [one for half in both for one in chosen(half, method)]
        found[method] = net(choices, rows)
    found |= {f"always {name}": net([name] * len(rows), rows) for name in MESSAGES}
    found["always silent"] = net([None] * len(rows), rows)
    print(f"\n{f'visits less {COST} an e-mail':<26}{'value':>8}{'s.e.':>8}   95 % interval")
    for name, one in found.items():
        low, high = one.confidence_interval
        print(f"{name:<26}{one.value:8.4f}{one.standard_error:8.4f}   {low:.4f} – {high:.4f}")
    print(f"\n{'':<26}{'message':<10}{'Qini':>8}   95 % interval     {'AUUC':>8}   95 % interval")
    for method in both[0].uplift:
        for message in MESSAGES:
            one_of = scores(both, method, message)
            print(
                f"{method:<26}{message:<10}{one_of.qini:8.4f}   {_span(one_of.qini_interval)}   "
                f"{one_of.auuc:8.4f}   {_span(one_of.auuc_interval)}"
            )
    best = max(value.value for name, value in found.items() if name.startswith("always"))
    return found["uplift"].value < best - found["uplift"].standard_error


def _span(interval: tuple[float, float] | None) -> str:
    assert interval is not None
    return f"{interval[0]:.4f} – {interval[1]:.4f}"
