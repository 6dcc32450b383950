"""The texts of one decision: what templates may name, and which texts a channel does not take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from decision.core.business_rules import Override
from decision.core.definition import Settings
from decision.core.document import Document
from decision.core.fields import FieldTable, Situation
from decision.core.masks import indices, mask_of
from decision.core.policy import Policy
from decision.core.ports import Content
from decision.core.said import Said
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


class Rendering(msgspec.Struct):
    """What templates read besides what is given: `rendering` among their names.

    `printed` are the fields that the policy's texts read. `known` is false where nothing is known
    of the customer but an id. `decision_id` is empty where nothing is decided. `excess` collects
    why a text is longer than texts may be.
    """

    situation: Situation
    settings: Settings
    printed: FieldTable
    decision_id: str = ""
    known: bool = True
    excess: list[str] = []


def excess_of(content: Content, rendered: Mapping[str, Any]) -> str | None:
    """What is too long in the rendered content, in words, or None."""
    for field, limit in content.limits.items():
        text = rendered.get(field)
        if isinstance(text, str) and len(text) > limit:
            return Said(
                "%(field)s has %(n)s characters, may have %(most)s",
                field=field,
                n=len(text),
                most=limit,
            )
    return None


def names_of(
    asked: Situation | Question | DecisionRequest,
    attributes: Mapping[str, Any],
    rendering: Rendering,
) -> dict[str, Any]:
    """What content templates may name, for a customer with these attributes."""
    event = asked.event
    return {
        "customer": attributes,
        "event": {**event.properties, "type": event.type} if event else {},
        "context": asked.context,
        "placement": asked.placement,
        "rendering": rendering,
    }


def names_of_stranger(
    policy: Policy, question: Question, now: int, customer_id: str, decision_id: str
) -> dict[str, Any]:
    """What content templates may name where nothing is known of the customer but an id."""
    situation = Situation(
        Document(customer_id=customer_id),
        question.placement,
        now,
        policy.zone,
        question.event,
        question.context,
    )
    return names_of(
        question, {}, Rendering(situation, policy.settings, policy.printed, decision_id, False)
    )


class Texts(msgspec.Struct):
    """Renders the contents of one decision, each at most once and only those asked for.

    `known` is the mask of candidates whose text was too long, where that is on record; `overlong`
    the mask of those that turned out to have a text longer than texts may be. `codes` is
    candidate → the coupon code that its text prints.
    """

    contents: Contents
    policy: Policy
    situation: Situation
    overrides: list[Override]
    values: list[Value]
    known: int | None
    decision_id: str = ""
    overlong: int = 0
    _names: dict[str, Any] | None = None
    _rendered: dict[int, dict[str, Any]] = {}
    _excess: dict[int, str] = {}
    codes: dict[int, str] = {}

    def too_long(self, among: int) -> int:
        """Those of the candidates with a text that is longer than their channel takes."""
        if self.known is not None:
            return among & self.known
        among &= self.contents.bounded | self.overlong
        return among and mask_of([index for index in indices(among) if self.excess(index)])

    def excess(self, candidate: int) -> str | None:
        """What is too long in a candidate's content, in words, or None."""
        rendered = self.content(candidate)
        if self.overlong >> candidate & 1:
            return self._excess.get(candidate, Said("a text is too long"))
        found = excess_of(self.contents.candidates[candidate], rendered)
        if found is None and (self.known or 0) >> candidate & 1:
            return Said("a text is too long")
        return found

    def give(self, candidate: int, code: str) -> None:
        """Has the candidate's text print a coupon's code, whatever it printed before."""
        self.codes[candidate] = code
        self._rendered.pop(candidate, None)

    def content(self, candidate: int) -> dict[str, Any]:
        """A candidate's content for the customer."""
        found = self._rendered.get(candidate)
        if found is None:
            names = self.names()
            if candidate in self.codes:
                names = {**names, "coupon": {"code": self.codes[candidate]}}
            found = self.contents.candidates[candidate].render(names)
            self._rendered[candidate] = found
            excess = names["rendering"].excess
            if excess:
                self.overlong |= 1 << candidate
                self._excess[candidate] = excess[0]
                excess.clear()
        return found

    def fits(self, candidate: int) -> bool:
        """Whether a candidate's text is not longer than its channel takes."""
        watched = self.contents.bounded | self.overlong
        return not watched >> candidate & 1 or self.excess(candidate) is None

    def names(self) -> dict[str, Any]:
        """What templates may name: attributes as this decision sees them, with what rules set."""
        if self._names is None:
            situation, policy = self.situation, self.policy
            fields = policy.fields.fields
            attributes = dict(situation.document.attributes)
            for override in self.overrides:
                name = fields[override.slot].name.removeprefix("customer.")
                attributes[name] = override.value
            state = self.values[policy.state_slot]
            if isinstance(state, str):
                attributes["state"] = state
            rendering = Rendering(situation, policy.settings, policy.printed, self.decision_id)
            self._names = names_of(situation, attributes, rendering)
        return self._names
