"""What a provider's reply means for a delivery: conditions on its status and on values in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from decision.core.values import MISSING, equal
from decision.decoding import decode_leniently
from decision.gateways.client import Reply
from decision.gateways.json_paths import Path, at_path, parse_path
from decision.gateways.protocol import Accepted, Rejected, Result, Retry, Unknown

RETRIED: Final = frozenset({401, 403, 407, 408, 409, 421, 423, 425, 429})
"""Refusals that are about the account or the moment, not about the delivery."""

LOGIN_REFUSED: Final = frozenset({401, 403, 407})
"""Of these, those by which a provider refuses who asks."""

_LOST: Final = 504
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_LONGEST_REASON: Final = 200
_SHORTEST_ADDRESS: Final = 5


class Exists(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether there is anything at a place of the reply; null is nothing."""

    exists: bool


Wanted = bool | int | float | str | None | list[bool | int | float | str | None] | Exists


class AcceptedWhen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a reply means that the provider has taken the delivery; left out, any 2xx does.

    `where` are values at places of the reply, and all must be there; `id` is the place of the
    provider's name for it.
    """

    status: int | list[int] | None = None
    id: str | None = None
    where: dict[str, Wanted] = msgspec.field(default_factory=dict)


class RejectedWhen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a reply means that it never will, also with a status of success."""

    status: int | list[int] | None = None
    where: dict[str, Wanted] = msgspec.field(default_factory=dict)
    reason: str | None = None


class Judge:
    """Says what replies mean."""

    def __init__(self, accepted: AcceptedWhen, rejected: RejectedWhen | None) -> None:
        self._accepted = _Conditions(accepted.status, accepted.where)
        self._id = None if accepted.id is None else parse_path(accepted.id)
        self._rejected: _Conditions | None = None
        self._reason: Path | None = None
        if rejected is not None:
            self._rejected = _Conditions(rejected.status, rejected.where)
            self._reason = None if rejected.reason is None else parse_path(rejected.reason)

    def of(self, reply: Reply) -> Result:
        """What a reply means."""
        content: Any = MISSING
        if self._reads and reply.end == "complete":
            try:
                content = decode_leniently(reply.body)
            except (msgspec.DecodeError, RecursionError):
                content = MISSING
        rejected = self._rejected
        if rejected is not None and rejected.hold(reply.status, content):
            return Rejected(self._said(reply, content))
        if self._accepted.fits(reply.status):
            if reply.end == "lost":
                return Unknown("the connection ended in the middle of the answer")
            where = self._accepted.where or (rejected is not None and rejected.where)
            if where and content is MISSING:
                return Unknown("the answer is not the JSON that accepted and rejected speak of")
            if self._accepted.hold(reply.status, content):
                return Accepted(self._provider_id(content))
            return Retry(after=reply.retry_after(), reason=self._said(reply, content))
        if reply.status == _LOST:
            return Unknown("the provider's own server did not answer in time (504)")
        if 400 <= reply.status < 500 and reply.status not in RETRIED:
            return Rejected(self._said(reply, content))
        after, refused = reply.retry_after(), reply.status in LOGIN_REFUSED
        return Retry(after=after, reason=self._said(reply, content), refused=refused)

    @property
    def _reads(self) -> bool:
        """Whether anything of the reply's body is looked at."""
        rejected = self._rejected
        conditions = self._accepted.where or (rejected is not None and rejected.where)
        return bool(conditions or self._id or self._reason)

    def _provider_id(self, content: Any) -> str | None:
        found = MISSING if self._id is None else at_path(content, self._id)
        if isinstance(found, bool) or not isinstance(found, str | int):
            return None
        return str(found)[:_LONGEST_REASON]

    def _said(self, reply: Reply, content: Any) -> str:
        found = MISSING if self._reason is None else at_path(content, self._reason)
        said = f"the provider answered {reply.status}"
        if isinstance(found, str | int | float):
            said += f": {_CONTROL.sub(' ', str(found))[:_LONGEST_REASON]}"
        elif 300 <= reply.status < 400:
            said += ", and redirects are not followed"
        return said


class _Conditions:
    """Conditions on a reply: its status and values in it. Without any, nothing is rejected."""

    def __init__(self, status: int | list[int] | None, where: Mapping[str, Wanted]) -> None:
        self.status = status
        self.where = [(parse_path(path), wanted) for path, wanted in where.items()]

    def fits(self, status: int) -> bool:
        """Whether the status is one of those named; without any, whether it is a 2xx."""
        if self.status is None:
            return 200 <= status < 300
        return status in ([self.status] if isinstance(self.status, int) else self.status)

    def hold(self, status: int, content: Any) -> bool:
        """Whether all of them hold; a status that is left out may be any if there is more.

        Without a content nothing is known of the values in it, not even that one is missing.
        """
        if self.where and content is MISSING:
            return False
        if (self.status is not None or not self.where) and not self.fits(status):
            return False
        return all(_matches(at_path(content, path), wanted) for path, wanted in self.where)


def _matches(found: Any, wanted: Wanted) -> bool:
    if isinstance(wanted, Exists):
        return (found is not MISSING and found is not None) is wanted.exists
    options = wanted if isinstance(wanted, list) else [wanted]
    if found is MISSING or found is None:
        return None in options
    return any(one is not None and equal(found, one) for one in options)


def without(said: str, customer: Mapping[str, Any]) -> str:
    """What a provider said, without the customer's address: reasons are shown to operators."""
    for value in customer.values():
        if isinstance(value, str) and len(value) >= _SHORTEST_ADDRESS:
            said = said.replace(value, "…")
    return said
