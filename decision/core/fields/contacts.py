"""`contacts.…`: how often the customer was contacted."""

from __future__ import annotations

import re

from decision.core.contact_policy import count_on_channel
from decision.core.fields.situation import Field, UnknownField, window_of

_COUNT = re.compile(r"count_([0-9]+[smhd])")


def contacts_field(name: str, rest: str) -> Field:
    """A count of contacts within a window.

    Raises:
        UnknownField: it is another measure.
    """
    channel, _, measure = rest.rpartition(".")
    found = _COUNT.fullmatch(measure)
    if not channel or found is None:
        raise UnknownField(f"{name!r} is not a field; write contacts.<channel>.count_7d")
    window = window_of(name, found[1])
    return Field(
        name,
        lambda s: count_on_channel(s.document, channel, s.now - window + 1, s.now),
        "number",
        channel=channel,
        contacts_window=window,
    )
