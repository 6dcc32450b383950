"""Experiments in the log, and after a merge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from decision.core.policy import variant_of
from decision.core.schema import CustomerUpdate
from tests.engine.conftest import RULES
from tests.engine.test_engine import GRANTED, ask, decisions

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]

TESTED = RULES.replace(
    "    content: {title: News}",
    "    when: {experiment.copy: short}\n    content: {title: News}",
) + (
    "experiments:\n"
    "  copy: {seed: copy-1, variants: {control: 50%, short: 50%}}\n"
    "  hold: {seed: h, share: 50%, keeps: [service]}\n"
)


async def test_a_decision_logs_a_variant_only_where_it_had_a_say(make_engine: Make) -> None:
    engine = await make_engine(TESTED)
    policy = engine.runtime.snapshot.policy
    variants, held = set(), set()
    for number in range(20):
        who = f"c-{number}"
        await ask(engine, who)
        await engine.customers.set_consents(who, GRANTED)
        await ask(engine, who, channels=["push"])
        await ask(engine, who)
        no_consent, not_offered, offered = await decisions(engine, who)
        assert no_consent.experiments == {}
        assert no_consent.holdout == offered.holdout
        assert not_offered.experiments == {}
        assert offered.experiments == {"copy": variant_of(policy.tests["copy"], who)}
        assert offered.holdout or offered.reason != "holdout"
        variants.update(offered.experiments.values())
        held.add(offered.holdout)
    assert (variants, held) == ({"control", "short"}, {True, False})


async def test_merged_customers_have_the_variant_of_whom_they_are_merged_into(
    make_engine: Make,
) -> None:
    engine = await make_engine(TESTED.replace("share: 50%", "share: 0%"))
    experiment = engine.runtime.snapshot.policy.tests["copy"]
    differing = 0
    for number in range(12):
        kept, other = f"c-{number}", f"anon-{number}"
        await engine.customers.update(other, CustomerUpdate(aliases={"cookie": other}))
        await engine.customers.set_consents(kept, GRANTED)
        await engine.customers.set_consents(other, GRANTED)
        await engine.customers.merge(kept, other)
        wanted = {"copy": variant_of(experiment, kept)}
        for named in (kept, other):
            await ask(engine, named)
            logged = await decisions(engine, kept)
            assert logged[-1].experiments == wanted
        differing += variant_of(experiment, other) != wanted["copy"]
    assert differing
