"""The texts of one decision: what templates may name, and which texts a channel does not take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from decision.core.business_rules import Override
from decision.core.fields import Situation
from decision.core.masks import indices
from decision.core.policy import Policy
from decision.core.ports import Content
from decision.core.schema import TriggerEvent
from decision.core.values import Value


class Excess(NamedTuple):
    """A text that is longer than its channel takes, in characters."""

    field: str
    length: int
    limit: int


class Contents(msgspec.Struct, frozen=True):
    """The contents of a policy: by candidate, and placement → (message, channel, content).

    `bounded` is the mask of the candidates whose text can be longer than their channel takes.
    """

    candidates: Sequence[Content]
    fallbacks: Mapping[str, tuple[str, str, Content]]
    bounded: int


NO_CONTENTS = Contents((), {}, 0)


def excess_of(content: Content, rendered: Mapping[str, Any]) -> Excess | None:
    """The first of the rendered fields that is too long, or None."""
    for field, limit in content.limits.items():
        text = rendered.get(field)
        if isinstance(text, str) and len(text) > limit:
            return Excess(field, len(text), limit)
    return None


def names_of(
    placement: str,
    event: TriggerEvent | None,
    context: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    """What content templates may name, for a customer with these attributes."""
    return {
        "customer": attributes,
        "event": {**event.properties, "type": event.type} if event else {},
        "context": context,
        "placement": placement,
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
        long = 0
        for index in indices(among & self.contents.bounded):
            if self.excess(index) is not None:
                long |= 1 << index
        return long

    def excess(self, candidate: int) -> Excess | None:
        """The field of a candidate's content that is too long, if one is."""
        return excess_of(self.contents.candidates[candidate], self.content(candidate))

    def content(self, candidate: int) -> dict[str, Any]:
        """A candidate's content for the customer."""
        found = self._rendered.get(candidate)
        if found is None:
            found = self.contents.candidates[candidate].render(self.names())
            self._rendered[candidate] = found
        return found

    def has_fallback(self, placement: str) -> bool:
        """Whether the placement has a fallback, and its text fits."""
        if self.policy.placements[placement].fallback is None:
            return False
        if placement not in self.contents.fallbacks:
            return True
        content = self.contents.fallbacks[placement][2]
        return not (content.limits and excess_of(content, content.render(self.names())))

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
            self._names = names_of(
                situation.placement, situation.event, situation.context, attributes
            )
        return self._names
