"""Segment's calls: what the settings say of them, and what they change of customers."""

from __future__ import annotations

from decision.core.errors import NotFound
from decision.core.schema import CustomerUpdate
from decision.engine import Engine
from decision.engine.identity import customer_id_of, named_by
from decision.intake.segment import ANONYMOUS, Merge, Profile, SegmentOptions, names_of
from decision.server.settings import ServerSettings, SettingsError


def segment_options(settings: ServerSettings) -> SegmentOptions:
    """What the settings say of Segment's calls.

    Raises:
        SettingsError: a setting cannot be read.
    """
    read = {}
    for name in ("segment_traits", "segment_events"):
        try:
            read[name] = names_of(getattr(settings, name))
        except ValueError as error:
            raise SettingsError(f"NEXTBEST_{name.upper()}: {error}") from None
    return SegmentOptions(read["segment_traits"], read["segment_events"], settings.segment_merge)


async def change_customer(engine: Engine, action: Profile | Merge | None) -> None:
    """Does what a call asks for.

    Raises:
        InputError: it cannot be done.
        NotFound: who is to be changed does not exist.
        StoreUnavailable: perhaps it is done; doing it again is safe.
    """
    customers = engine.customers
    if isinstance(action, Profile):
        named = named_by(engine.runtime.settings, action.customer_id, action.alias)
        await customers.update(await customer_id_of(engine.runtime, named), action.update)
    elif isinstance(action, Merge):
        try:
            await customers.merge(action.into, action.other)
        except NotFound:  # then it is an anonymousId, or nobody
            await customers.update(action.into, CustomerUpdate(aliases={ANONYMOUS: action.other}))
