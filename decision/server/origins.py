"""The web origins whose pages may call, as a setting names them."""

from __future__ import annotations

import re
from typing import Final

from decision.server.settings import SettingsError

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")


def origins_of(text: str | None) -> frozenset[str]:
    """The origins in a setting.

    Raises:
        SettingsError: one of them is none.

    >>> origins_of("https://shop.example, http://localhost:3000") == {
    ...     "https://shop.example", "http://localhost:3000"}
    True
    """
    found = {part.strip() for part in (text or "").split(",")} - {""}
    for origin in sorted(found):
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(
                f'NEXTBEST_SEGMENT_ORIGINS: "{origin}" is no origin; write https:// and the host '
                "in lower case, with its port if it has one, and no path"
            )
    return frozenset(found)
