"""`placement`, `event.…`, `context.…`, `experiment.…`: what comes with the request."""

from __future__ import annotations

from decision.core.fields.situation import Field, Situation, UnknownField, at_path
from decision.core.values import MISSING, Value


def placement_field(name: str, rest: str) -> Field:
    """The field of the placement that is asked for.

    Raises:
        UnknownField: something follows, as if there were fields of a placement.
    """
    if rest:
        raise UnknownField(f"{name!r} is not a field")
    return Field(name, lambda s: s.placement, "text")


def event_field(name: str, rest: str) -> Field:
    """The type, or a property, of the event that asks."""
    return Field(name, lambda s: _event(s, rest), "text" if rest == "type" else "any")


def context_field(name: str, rest: str) -> Field:
    """A value of the request's context."""
    return Field(name, lambda s: at_path(s.context, rest))


def experiment_field(name: str, rest: str) -> Field:
    """The customer's variant in an experiment."""
    return Field(name, lambda s: _variant(s, rest), "text", experiment=rest)


def _event(situation: Situation, rest: str) -> Value:
    event = situation.event
    if event is None:
        return MISSING
    return event.type if rest == "type" else at_path(event.properties, rest)


def _variant(situation: Situation, experiment: str) -> Value:
    variants = situation.variants
    return variants(experiment, situation.document.customer_id) if variants else MISSING
