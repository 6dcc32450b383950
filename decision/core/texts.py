"""The texts of one decision: what templates may name, and which texts a channel does not take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from decision.core.business_rules import Override
from decision.core.fields import Situation
from decision.core.masks import indices, mask_of
from decision.core.policy import Policy
from decision.core.ports import Content
from decision.core.schema import DecisionRequest
from decision.core.values import Value

if TYPE_CHECKING:
    from decision.core.decide import Question


class Contents(msgspec.Struct, frozen=True):
    """The contents of a policy, by candidate.

    `bounded` is the mask of the candidates whose text can be longer than their channel takes.
    """

    candidates: Sequence[Content]
    bounded: int


NO_CONTENTS = Contents((), 0)


def excess_of(content: Content, rendered: Mapping[str, Any]) -> str | None:
    """What is too long in the rendered content, in words, or None."""
    for field, limit in content.limits.items():
        text = rendered.get(field)
        if isinstance(text, str) and len(text) > limit:
            return f"{field} has {len(text)} characters, may have {limit}"
    return None


def names_of(
    asked: Situation | Question | DecisionRequest, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """What content templates may name, for a customer with these attributes."""
    event = asked.event
    return {
        "customer": attributes,
        "event": {**event.properties, "type": event.type} if event else {},
        "context": asked.context,
        "placement": asked.placement,
    }


class Texts(msgspec.Struct):
    """Renders the contents of one decision, each at most once and only those asked for.

    `known` is the mask of candidates whose text was too long, where that is on record.
    """

    contents: Contents
    policy: Policy
    situation: Situation
    overrides: list[Override]
    values: list[Value]
    known: int | None
    _names: dict[str, Any] | None = None
    _rendered: dict[int, dict[str, Any]] = {}

    def too_long(self, among: int) -> int:
        """Those of the candidates with a text that is longer than their channel takes."""
        if self.known is not None:
            return among & self.known
        among &= self.contents.bounded
        return among and mask_of([index for index in indices(among) if self.excess(index)])

    def excess(self, candidate: int) -> str | None:
        """What is too long in a candidate's content, in words, or None."""
        return excess_of(self.contents.candidates[candidate], self.content(candidate))

    def content(self, candidate: int) -> dict[str, Any]:
        """A candidate's content for the customer."""
        found = self._rendered.get(candidate)
        if found is None:
            found = self.contents.candidates[candidate].render(self.names())
            self._rendered[candidate] = found
        return found

    def fits(self, candidate: int) -> bool:
        """Whether a candidate's text is not longer than its channel takes."""
        return not self.contents.bounded >> candidate & 1 or self.excess(candidate) is None

    def names(self) -> dict[str, Any]:
        """What templates may name: attributes as this decision sees them, with what rules set."""
        if self._names is None:
            situation, fields = self.situation, self.policy.fields.fields
            attributes = dict(situation.document.attributes)
            for override in self.overrides:
                name = fields[override.slot].name.removeprefix("customer.")
                attributes[name] = override.value
            state = self.values[self.policy.state_slot]
            if isinstance(state, str):
                attributes["state"] = state
            self._names = names_of(situation, attributes)
        return self._names
