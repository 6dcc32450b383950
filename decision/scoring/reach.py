"""What a model decides, where models of other scopes are in force: its scope, without what narrower
ones take."""

from __future__ import annotations

from typing import Final

import msgspec

from decision.core.definition import PolicyDefinition
from decision.scoring.scope import EVERYWHERE, Scope


class Reach(msgspec.Struct, frozen=True):
    """What a model of a scope decides, where models of `others` are in force as well.

    >>> home = Scope(placement="home")
    >>> Reach(EVERYWHERE, frozenset({home})).decides("home", "service")
    False
    >>> str(Reach(EVERYWHERE, frozenset({home})))
    'everything but placement=home'
    """

    scope: Scope = EVERYWHERE
    others: frozenset[Scope] = frozenset()

    @property
    def is_everything(self) -> bool:
        """Whether it decides every candidate at every placement."""
        return self.scope == EVERYWHERE and not self.others - {EVERYWHERE}

    def decides(self, placement: str | None, purpose: str) -> bool:
        """Whether it scores messages of a purpose at a placement."""
        every = {self.scope, *self.others}
        own = Scope(placement=placement, purpose=purpose)
        return next((one for one in own.wider() if one in every), None) == self.scope

    def messages(self, definition: PolicyDefinition, placement: str | None) -> set[str]:
        """Of the messages of a policy, those that it scores at a placement."""
        purposes = {message.purpose for message in definition.messages}
        own = {one for one in purposes if self.decides(placement, one)}
        return {message.name for message in definition.messages if message.purpose in own}

    def __str__(self) -> str:
        """As it is said in reports; empty for everything."""
        if self.is_everything:
            return ""
        narrower = sorted(filter(self._loses_to, self.others), key=lambda one: one.sorted_by)
        said = str(self.scope) or "everything"
        return said + (f" but {', '.join(map(str, narrower))}" if narrower else "")

    def _loses_to(self, other: Scope) -> bool:
        """Whether another scope takes a part of it."""
        own = self.scope
        both = Scope(
            placement=other.placement or own.placement, purpose=other.purpose or own.purpose
        )
        order = [*both.wider()]
        return own in order and other in order and order.index(other) < order.index(own)


EVERYTHING: Final = Reach()
