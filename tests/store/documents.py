"""Documents of any shape, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from decision.core.document import (
    Consent,
    ConsentChange,
    Contact,
    ContactKind,
    Document,
    EventHistory,
    KeptScore,
    Signal,
)
from decision.core.journeys.state import Chain, JourneyState, Partial, Run

KINDS = 300
MICROS = st.integers(-(1 << 62), 1 << 62)

names = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["email", "push", "marketing", "城市", "订单.已付款"]
)
values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
contacts = st.builds(
    Contact,
    kind=st.integers(0, KINDS - 1),
    at=MICROS,
    state=st.integers(0, 3),
    mark=st.integers(-(2**31) + 1, 2**31 - 1),
    tag=st.integers(0, 2**32 - 1),
)
consents = st.builds(
    Consent,
    granted=st.booleans(),
    at=st.integers(0, 1 << 50) | st.integers(0, 1 << 40).map(lambda second: second * 1_000_000),
    source=st.just("") | names,
    evidence=st.just("") | names,
    spared=st.just(0) | st.integers(1, 1 << 50),
)


@st.composite
def histories(draw: st.DrawFn) -> EventHistory:
    """A history in which every bucket has one number a sum, and seconds ascend."""
    sums = draw(st.lists(names, max_size=2, unique=True))
    seconds = draw(st.lists(st.integers(-(1 << 40), 1 << 40), max_size=4, unique=True))
    number = st.integers(0, 1 << 40) | st.floats(allow_nan=False, allow_infinity=False)
    return EventHistory(
        total=draw(st.integers(0, 1 << 40)),
        last_at=draw(MICROS),
        last=draw(st.dictionaries(names, values, max_size=2)),
        buckets=[
            [second, draw(st.integers(0, 1 << 40)), *(draw(number) for _ in sums)]
            for second in sorted(seconds)
        ],
        days=sorted(draw(st.sets(st.integers(0, 1 << 22), max_size=4))),
        sums=sums,
        last_rank=draw(st.integers(0, (1 << 32) - 1)),
    )


scores = st.builds(
    KeptScore,
    value=st.floats(allow_nan=False, allow_infinity=False),
    at=MICROS,
    half_life=st.integers(1, 1 << 50),
    digest=st.integers(0, (1 << 32) - 1),
    events=st.integers(1, 1 << 40),
)
times = st.integers(0, 1 << 61)
abouts = st.dictionaries(names, values, max_size=2)
runs = st.builds(
    Run,
    id=names,
    key=names,
    started=times,
    step=names,
    entered=times,
    wake=times | st.integers(0, 1 << 40).map(lambda second: second * 1_000_000),
    visit=st.integers(0, 1 << 40),
    asks=st.integers(0, 1 << 40),
    event=st.just("") | names,
    about=abouts,
    hurried=st.integers(0, 200),
    passed=st.just(0) | times.map(lambda at: at + 1),
    chain=st.integers(0, (1 << 32) - 1),
)
partials = st.builds(
    Partial,
    element=st.integers(0, 20),
    times=st.integers(0, 1 << 40),
    first_at=times,
    last_at=times,
    first_id=names,
    about=abouts,
    began=st.integers(0, 1 << 20),
    took=st.integers(0, 1 << 20),
)
buckets = st.builds("{}{}".format, st.sampled_from("hdw"), st.integers(0, 1 << 40))
named = names.filter(lambda name: "\0" not in name)
journeys = st.builds(
    JourneyState,
    runs=st.dictionaries(names, st.lists(runs, max_size=2), max_size=2),
    partials=st.dictionaries(names, st.lists(partials, max_size=2), max_size=2),
    started=st.dictionaries(st.builds("{}\0{}".format, named, names), times, max_size=3),
    looked=st.just(0) | times,
    armed=st.lists(buckets, max_size=3),
    held=st.lists(names, max_size=2),
    chains=st.lists(
        st.builds(Chain, times, st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=3)),
        max_size=2,
    ),
).filter(lambda state: state != JourneyState())

documents = st.builds(
    Document,
    customer_id=st.just("c-1"),
    exists=st.just(True),
    attributes=st.dictionaries(names, values, max_size=6),
    attribute_runs=st.lists(st.tuples(st.integers(0, 1 << 32), st.integers(1, 9)), max_size=3),
    timezone=st.none() | names,
    aliases=st.dictionaries(names, st.lists(names, max_size=2), max_size=2),
    consents=st.dictionaries(names, st.dictionaries(names, consents, max_size=2), max_size=2),
    consent_trail=st.lists(
        st.builds(
            ConsentChange,
            at=MICROS,
            purpose=names,
            channel=names,
            granted=st.none() | st.booleans(),
            source=names,
        ),
        max_size=2,
    ),
    reachable=st.none() | st.lists(names, max_size=2),
    unreachable=st.lists(names, max_size=2),
    contacts=st.lists(contacts, max_size=5),
    earlier=st.dictionaries(st.integers(0, KINDS - 1), st.integers(1, 1 << 40), max_size=3),
    signals=st.lists(st.builds(Signal, names, MICROS, names, names, names), max_size=2),
    events=st.dictionaries(names, histories(), max_size=3),
    scores=st.dictionaries(names, scores, max_size=2),
    journeys=st.none() | journeys,
    merged=st.lists(names, max_size=2),
    moved_to=st.none() | names,
)


def kind(number: int) -> ContactKind:
    return ContactKind(f"message-{number}", "push", "marketing", "", ())
