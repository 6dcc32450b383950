"""Exposure: in which decisions a customer was exposed to their variant of an experiment.

A candidate *depends* on an experiment where the variant can change the outcome for it. That is:

- its `when` or its content names `experiment.<name>`, or a field that depends on the experiment;
- quiet hours hold it back, and their `unless` names such a field;
- a rule excludes or boosts it, and the rule's `when` names such a field;
- a cap is about it, and the cap's `when` or `at_most` names such a field;
- the model reads the experiment: then every candidate depends on it.

A field depends on the experiment where a rule sets it and the rule's `when` names such a field;
`customer.state`, where the `when` of any state names one.

A decision exposes the customer where at least one such candidate reaches the rules: it is active,
in the placement, on a channel asked for, fulfils those parts of its `when` that depend on no
experiment, and passes consent, suppressions, reach, quiet hours and reply windows. Whether it does
is the same under every variant, so that variants stay comparable. Caps and budgets do not count:
the variant itself has changed them before.

This is the trigger condition of a triggered analysis: Kohavi, Tang, Xu: Trustworthy Online
Controlled Experiments (2020), chapter 20.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from decision.core.conditions import Condition, fields_read
from decision.core.definition import Message, PolicyDefinition
from decision.core.fields import STATE_FIELD
from decision.core.masks import union


class Dependents:
    """What depends on one experiment: `fields` by name, and `rules` by their index."""

    def __init__(self, name: str, definition: PolicyDefinition) -> None:
        self.name = name
        self.fields = {f"experiment.{name}"}
        self.rules: list[int] = []
        if any(self.mentioned(state.when) for state in definition.states):
            self.fields.add(STATE_FIELD)
        for index, rule in enumerate(definition.rules):  # a rule sees what those before it set
            if self.mentioned(rule.when):
                self.rules.append(index)
                self.fields.update(rule.set)

    def mentioned(self, condition: Condition) -> bool:
        """Whether a condition names one of the fields."""
        return not self.fields.isdisjoint(fields_read(condition))

    def printed(self, content: Any) -> bool:
        """Whether a text of the content may print one of the fields; it holds its name at least."""
        names = [field.removeprefix("customer.") for field in self.fields]
        return any(name in text for text in _texts(content) if "{" in text for name in names)

    def mask(
        self,
        messages: Sequence[Message],
        message_masks: Mapping[str, int],
        touched: Sequence[int],
        silenced: Iterable[tuple[Condition, int]],
    ) -> int:
        """The candidates that depend on it.

        `touched` has those that each rule affects, `silenced` what lifts the quiet hours of which.
        """
        found = union(mask for unless, mask in silenced if self.mentioned(unless))
        for message in messages:
            named = not self.fields.isdisjoint(message.printed)
            if named or self.mentioned(message.when) or self.printed(message.content):
                found |= message_masks.get(message.name, 0)
        return found | union(touched[index] for index in self.rules)


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for item in content.values():
            yield from _texts(item)
    elif isinstance(content, list | tuple):
        for item in content:
            yield from _texts(item)
