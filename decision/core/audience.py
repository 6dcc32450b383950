"""Who matches a condition, and who of them may be told to others.

The condition is compiled as a message's `when` is, and reads the same values: fields, the state,
and what rules set. Nobody asks, so there is no event, context or placement. Consent, pauses and
reach are those of one purpose and channel. Control groups can be left out as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from decision.core import consent
from decision.core.conditions import Condition, compile_condition, fields_read
from decision.core.definition import PolicyDefinition, Purpose
from decision.core.document import ContactKind, Document
from decision.core.narrowing import Reader, narrowed
from decision.core.policy import in_holdout
from decision.core.policy_builder import compile_policy
from decision.core.reasons import Reason
from decision.core.values import Value

OF_REQUESTS: Final = ("event", "context", "placement")
"""The families of fields that come with a request."""

Withheld = Literal["no_consent", "suppressed", "unreachable", "holdout"]


class Reach(msgspec.Struct, frozen=True):
    """What an audience is for: a purpose of the policy, and a channel of it.

    Without a channel the customer must agree to the purpose in general; what was agreed on one
    channel alone is not enough. Pauses of a channel and reach then do not matter.
    """

    purpose: Purpose
    channel: str | None = None


class Audience:
    """A condition on customers, compiled for one policy.

    `reach` None: nobody is asked for consent. `columns` are fields that `values` reads besides.
    `without_holdouts`: nobody is told of who is in a control group, unless it keeps the purpose.

    >>> from decision.core.conditions import Clause
    >>> from decision.core.document import Consent
    >>> news = Purpose(name="news", consent="opt_in")
    >>> policy = PolicyDefinition(version="1", purposes=(news,))
    >>> audience = Audience(policy, Clause("customer.country", "eq", "CN"), Reach(news, "email"))
    >>> mei = Document(customer_id="mei", attributes={"country": "CN"})
    >>> audience.matches(mei, now=0), audience.withheld(mei, now=0)
    (True, 'no_consent')
    >>> mei.consents = {"news": {"email": Consent(True)}}
    >>> audience.withheld(mei, now=0) is None
    True
    """

    def __init__(
        self,
        definition: PolicyDefinition,
        condition: Condition,
        reach: Reach | None = None,
        columns: Iterable[str] = (),
        *,
        without_holdouts: bool = False,
    ) -> None:
        self.condition = condition
        self.columns = tuple(columns)
        read = (*fields_read(condition), *self.columns)
        self._reader = reader = Reader(compile_policy(narrowed(definition, read), reads=read))
        self._test = compile_condition(condition, reader.slot)
        self._slots = [reader.slot(name) for name in self.columns]
        self._reach = reach
        name, channel = (reach.purpose.name, reach.channel or "") if reach else ("", "")
        self._kind = ContactKind("", channel, name, "", ())
        self.holdouts = tuple(
            one
            for one in (definition.experiments if without_holdouts else ())
            if one.share is not None and name not in one.keeps
        )
        """The control groups whose members are left out."""

    def matches(self, document: Document, now: int) -> bool:
        """Whether the condition holds for a customer at a time in microseconds."""
        return self._test(self._reader.read(document, now))

    def values(self, document: Document, now: int) -> list[Value]:
        """The values of `columns`."""
        if not self._slots:
            return []
        values = self._reader.read(document, now)
        return [values[slot] for slot in self._slots]

    def withheld(self, document: Document, now: int) -> Withheld | None:
        """Why a customer must not be told to others, or None."""
        why = None if self._reach is None else self._not_reached(self._reach, document, now)
        if why is None and any(in_holdout(one, document.customer_id) for one in self.holdouts):
            return Reason.HOLDOUT.value
        return why

    def _not_reached(self, reach: Reach, document: Document, now: int) -> Withheld | None:
        if not consent.permits(reach.purpose, document.consents, reach.channel or consent.ANY):
            return Reason.NO_CONSENT.value
        if self._reader.policy.contact_policy.holds_back(self._kind, document.signals, now):
            return Reason.SUPPRESSED.value
        if reach.channel is not None and not document.reaches(reach.channel):
            return Reason.UNREACHABLE.value
        return None
