"""Coupon pools: codes, each of which is given to one customer.

A pool is a budget whose units have names. A code is taken before the decision is written, with the
decision's id as token, and settled as the decision's contact is (see `core.budgets`). It is *free*;
or *held*, while nothing shows whether the customer saw it; or *given*, once something does; or
*redeemed*, for good. A held code comes back when its contact is released, a given one after
`give_back_after`, if it was not redeemed meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from decision.core.errors import InputError

LONGEST_CODE: Final = 64
"""Characters of a code, at most."""

LONGEST_POOL: Final = 128
"""Characters of a pool's name, at most: as of every name in rule files."""

PLACEHOLDER: Final = "CODE"
"""What stands for a code where none is taken: in dry runs, and before a message is chosen."""

REDEEMED: Final = "coupon.redeemed"
"""The event by which a code, its property `code`, is redeemed."""

_COUNTER: Final = "/"
_BLANKS: Final = "\ufeff\u200b"


def counter_of(pool: str) -> str:
    """The name by which what is taken of a pool is read beside the counters of budgets.

    No counter of a budget begins like it. What is taken is the number of free codes, below zero:
    so that there is room for one more where it is not above -1.
    """
    return _COUNTER + pool


def pool_of(counter: str) -> str | None:
    """The pool that a counter is of; None for those of budgets.

    >>> pool_of(counter_of("spring-10")), pool_of("spring-10:total")
    ('spring-10', None)
    """
    return counter[1:] if counter.startswith(_COUNTER) else None


def clean_code(text: str) -> str:
    """A code as it is stored and compared: letter by letter, without blanks around it.

    Raises:
        InputError: it is empty or too long, or has characters that nobody sees.

    >>> clean_code(" SPRING-7F3K ")
    'SPRING-7F3K'
    """
    found = _trimmed(text)
    if not found:
        raise InputError("code", "is empty")
    if len(found) > LONGEST_CODE:
        raise InputError(
            "code", f"has {len(found):,} characters; a code has {LONGEST_CODE} at most"
        )
    if not found.isprintable():
        place = next(n for n, one in enumerate(found, 1) if not one.isprintable())
        raise InputError(
            "code",
            "must not have control characters or others that nobody sees; "
            f"character {place} is U+{ord(found[place - 1]):04X}",
        )
    return found


def _trimmed(text: str) -> str:
    return text.strip().strip(_BLANKS).strip()


def check_redeemed(event: str, properties: Mapping[str, Any], path: str = "properties") -> None:
    """Checks that an event which redeems a code has one, be it of another system.

    Raises:
        InputError: it does not.
    """
    if event != REDEEMED:
        return
    code = properties.get("code")
    if not isinstance(code, str):
        said = "is missing" if code is None else f"is {code!r:.60}, must be text"
        raise InputError(f"{path}.code", f"{said}; it is the code that was redeemed")
    if not _trimmed(code):
        raise InputError(f"{path}.code", "is empty")


def in_no_pool(event: str, properties: Mapping[str, Any]) -> str | None:
    """Why no pool can have the code that an event redeems; None where one can.

    >>> in_no_pool("coupon.redeemed", {"code": "SPRING-7F3K"})
    >>> in_no_pool("coupon.redeemed", {"code": "7" * 65})
    'properties.code: has 65 characters; a code has 64 at most'
    """
    code = properties.get("code")
    if event == REDEEMED and isinstance(code, str):
        try:
            clean_code(code)
        except InputError as error:
            return f"properties.{error}"
    return None


def code_in(properties: Mapping[str, Any]) -> str | None:
    """The code that an event redeems, as it is stored; None where it is none that a pool can have.

    >>> code_in({"code": " SPRING-7F3K "}), code_in({"code": 7})
    ('SPRING-7F3K', None)
    """
    code = properties.get("code")
    try:
        return clean_code(code) if isinstance(code, str) else None
    except InputError:
        return None


def clean_pool(name: str) -> str:
    """The name of a pool, as rule files may have it.

    Raises:
        InputError: it is empty or too long, or has characters that names cannot have.
    """
    if not name or len(name) > LONGEST_POOL or name != name.strip() or not name.isprintable():
        raise InputError("pool", f"needs a name of 1 to {LONGEST_POOL} characters")
    if found := set(name) & set("/*?[]"):
        raise InputError("pool", f"has a name with {min(found)}; use letters, digits, - and _")
    return name


class WantedCode(NamedTuple):
    """A code that a decision takes for one of its messages; times in microseconds.

    Unless something shows that the customer saw it, it comes back at `end`; never where that is
    None. At `back` it comes back in any case that it is not redeemed. Before `rest` it does not,
    because the decision's answer, which names it, may be given again until then.
    """

    message: str
    end: int | None
    back: int | None
    rest: int

    @property
    def due(self) -> int | None:
        """When it comes back if no event tells of it."""
        return min((one for one in (self.end, self.back) if one is not None), default=None)


class CouponCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many codes of a pool are in which state; `loaded` is the sum of the other four. Codes
    that are just being loaded count as held.

    `given_back` is how often a code came back, whatever became of it afterwards.
    """

    loaded: int = 0
    free: int = 0
    held: int = 0
    given: int = 0
    redeemed: int = 0
    given_back: int = 0


class CouponStore(Protocol):
    """Pools of codes. `DocumentStore.read` reads how many are free, by `counter_of`."""

    async def add_codes(self, pool: str, codes: Sequence[str]) -> int:
        """Adds the codes that the pool does not have; returns how many these are.

        Other pools are not looked at: see `stage_codes`.
        """

    async def stage_codes(self, pool: str, codes: Sequence[str]) -> list[str]:
        """Adds codes that nobody gets until they are opened; returns those that nobody gets yet.

        Of two pools that stage a code and then look whether the other has it, one sees the other.
        """

    async def open_codes(self, pool: str, codes: Sequence[str]) -> int:
        """Frees those of the codes that are staged; returns how many these are."""

    async def drop_codes(self, pool: str, codes: Sequence[str]) -> None:
        """Removes those of the codes that are staged."""

    async def pools_with(self, codes: Sequence[str], pools: Collection[str]) -> dict[str, str]:
        """Code → pool, of the codes that one of the pools has."""

    async def coupon_pools(self, *, timeout: float | None = None) -> list[str]:
        """The names of all pools to which codes were ever added, sorted."""

    async def count_codes(self, pool: str, now: int) -> CouponCounts:
        """How many codes there are, of which state."""

    async def take_codes(
        self,
        pool: str,
        wanted: Sequence[WantedCode],
        token: str,
        *,
        now: int,
        lasts: int,
        timeout: float | None = None,
    ) -> list[str] | None:
        """Takes a code for each message, or none: then there are not as many.

        For `lasts` microseconds it is known what the token took: taking again gives the same.
        """

    async def return_codes(self, pool: str, token: str, now: int) -> None:
        """Gives back what a token took and nobody was given; it takes nothing afterwards."""

    async def settle_code(self, pool: str, token: str, message: str, rank: int, now: int) -> bool:
        """Counts (odd rank) or gives back (even rank) the code that a token took for a message.

        The highest rank holds, as in `BudgetStore.settle_budgets`. False where the token took none.
        """

    async def expire_codes(self, pool: str, now: int, *, timeout: float | None = None) -> None:
        """Frees the codes that come back by now."""

    async def redeem_code(self, pool: str, code: str, now: int) -> bool:
        """Keeps a code for good, whatever state it was in; false where the pool has none such."""

    async def forget_codes(
        self, pool: str, tags: Collection[int], partitions: Collection[int]
    ) -> int:
        """Removes what leads from a customer's decisions to codes; how many codes these were.

        `tags` are those of the decisions (`identifiers.decision_tag`), `partitions` those of the
        customer's ids. A code that was held counts as given from then on.
        """
