"""Consents of files that come in late: what was taken back since does not come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from decision.core import consent
from decision.core.clock import SECOND, from_micros
from decision.core.document import Document
from decision.core.schema import ConsentStatement
from decision.engine.changes import apply_consents
from decision.engine.loading import CustomerRow, Loading
from tests.core.small import NOON

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]


def row(purpose: str, state: Any, second: int) -> CustomerRow:
    at = from_micros(NOON - (100 - second) * SECOND)
    said = ConsentStatement(state=state, at=at, source="crm")
    return CustomerRow(customer_id="anna", consents={purpose: {"*": said}})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_grant_and_the_denial_after_it_are_both_gone_once_the_denial_is_taken_back(
    make_engine: Make, order: tuple[int, ...]
) -> None:
    """Loaded before that or after it, in any order, and every night again."""
    engine = await make_engine()
    purpose = next(iter(engine.snapshot.policy.purposes))
    rows = [row(purpose, "granted", 2), row("*", "denied", 3)]
    loading = Loading(engine.runtime)
    for before in range(3):
        await engine.customers.erase("anna")
        late = [rows[place] for place in order]
        for one in late[:before]:
            await loading.put(one)
        await engine.customers.set_consents("anna", {"*": {"*": None}})
        for one in [*late[before:], *late]:
            await loading.put(one)
        view = await engine.customers.get("anna")
        assert view.consents == {}, before
        trail = view.consent_trail
        await loading.put(late[0])
        assert (await engine.customers.get("anna")).consent_trail == trail


async def test_a_call_about_hundreds_of_purposes_and_channels_looks_at_few_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked, covers_ = 0, consent._covers

    def counted(*cells: Any) -> bool:
        nonlocal looked
        looked += 1
        return covers_(*cells)

    monkeypatch.setattr(consent, "_covers", counted)
    update: Any = {
        f"p-{one}": {f"c-{other}": ("granted", "denied")[other % 2] for other in range(30)}
        for one in range(30)
    }
    document = Document(customer_id="c-1")
    for _ in range(2):
        apply_consents(document, update, 9 * SECOND, "desk")
    assert sum(map(len, document.consents.values())) == 900
    assert looked <= 10 * 900
