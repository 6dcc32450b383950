"""A small policy built by hand, and what is needed to decide with it, purely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from decision.core.budgets import Spending
from decision.core.business_rules import PlainMatcher
from decision.core.clock import to_micros
from decision.core.decide import Question, Verdict, decide
from decision.core.definition import (
    Channel,
    Message,
    Placement,
    PolicyDefinition,
    Purpose,
    Settings,
)
from decision.core.document import Consent, Contact, ContactKind, ContactState, Document
from decision.core.policy import Policy

KINDS = [
    ContactKind("offer", "push", "marketing", "sale", ("coupon",)),
    ContactKind("offer", "email", "marketing", "sale", ("coupon",)),
    ContactKind("news", "email", "marketing", "content", ()),
    ContactKind("receipt", "email", "service", "order", ()),
    ContactKind("retired", "email", "marketing", "sale", ("old",)),
]


def at(text: str) -> int:
    """Microseconds of an RFC 3339 time."""
    from datetime import datetime

    return to_micros(datetime.fromisoformat(text))


NOON = at("2026-11-21T12:00:00+00:00")


class Fixed:
    """A scorer with a set probability for each message, 0.1 by default."""

    version = "fixed"

    def __init__(self, policy: Policy, probabilities: dict[str, float]) -> None:
        self.by_candidate = np.array(
            [probabilities.get(candidate.message, 0.1) for candidate in policy.candidates]
        )

    def score(self, candidates: Any, values: Any, document: Document, now: int) -> Any:
        return self.by_candidate[candidates]

    def features(self, candidate: int, values: Any, document: Document, now: int) -> dict[str, Any]:
        return {}


def definition(**changes: Any) -> PolicyDefinition:
    """Three messages on push and email, one of them service; caps and rules as given."""
    base: dict[str, Any] = {
        "version": "test",
        "settings": Settings(timezone="UTC", exploration=None),
        "purposes": (
            Purpose(name="marketing", consent="opt_in"),
            Purpose(name="service", consent="not_required"),
        ),
        "channels": (Channel(name="push"), Channel(name="email")),
        "placements": (
            Placement(name="outbound", channels=("push", "email")),
            Placement(name="inbox", channels=("email",), fallback="receipt"),
        ),
        "messages": (
            Message(
                name="offer",
                purpose="marketing",
                category="sale",
                tags=("coupon",),
                channels=("push", "email"),
                value=10.0,
            ),
            Message(
                name="news",
                purpose="marketing",
                category="content",
                channels=("email",),
                value=5.0,
            ),
            Message(
                name="receipt",
                purpose="service",
                category="order",
                channels=("email",),
                placements=("inbox",),
                value=1.0,
            ),
        ),
    }
    return PolicyDefinition(**{**base, **changes})


def customer(**changes: Any) -> Document:
    """A customer who agreed to marketing everywhere."""
    base: dict[str, Any] = {
        "customer_id": "c-1",
        "consents": {"marketing": {"*": Consent(granted=True)}},
        "kinds": KINDS,
    }
    return Document(**{**base, **changes})


def contact(
    kind: int, when: int, state: ContactState = ContactState.CONFIRMED, mark: int = 0
) -> Contact:
    return Contact(kind=kind, at=when, state=state, mark=mark, tag=0)


def ask(
    policy: Policy,
    document: Document,
    now: int = NOON,
    *,
    placement: str = "outbound",
    draws: Sequence[float] = (0.0,),
    probabilities: dict[str, float] | None = None,
    spent: int = 0,
    spending: Spending | None = None,
    unproven: int = 0,
    **question: Any,
) -> Verdict:
    """Decides with the plain evaluator and fixed probabilities."""
    numbers = iter([*draws, *[0.5] * 100])
    return decide(
        policy,
        PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot),
        Fixed(policy, probabilities or {}),
        document,
        Question(placement=placement, **question),
        now,
        lambda: next(numbers),
        spent=spent,
        spending=spending,
        unproven=unproven,
        exploration=policy.settings.exploration,
    )


def reasons(policy: Policy, verdict: Verdict) -> dict[str, str | None]:
    """`message/channel` → reason code, None for what was chosen."""
    from decision.core.explanation import explain

    return {f"{row.message}/{row.channel}": row.reason for row in explain(policy, verdict)}
