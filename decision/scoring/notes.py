"""What people should be told about a model: the kinds of notes, each with its text.

Losses that nobody would see otherwise: a number logged as text, categories folded away, a feature
that tells the response. A manifest keeps a note as its kind and values, so that pages can say it in
another language; manifests of earlier releases have plain texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from decision.core.said import Said, marked


class NoteKind(NamedTuple):
    """A text with its values left out; a caution may make the model wrong, the rest is good to
    know."""

    text: str
    caution: bool = False


KINDS: Final[dict[str, NoteKind]] = {
    # Values that a training table lacks.
    "no_value": NoteKind(marked("'%(feature)s' has no value in any of %(rows)s rows"), True),
    "no_value_but_near": NoteKind(
        marked("'%(feature)s' has no value in any of %(rows)s rows; did you mean '%(near)s'?"), True
    ),
    "no_number": NoteKind(
        marked("'%(feature)s' has no value that is a number in any row that is fitted"), True
    ),
    "no_category": NoteKind(
        marked("'%(feature)s' has no value that is a category in any row that is fitted"), True
    ),
    "constant": NoteKind(marked("'%(feature)s' is the same in all %(rows)s rows that are fitted")),
    "never_missing": NoteKind(
        marked(
            "no row that is fitted lacks '%(feature)s'; %(share)s of them are fitted as if they "
            "did (missing: in the spec)"
        )
    ),
    "never_missing_read_as_0": NoteKind(
        marked("no row that is fitted lacks '%(feature)s'; a missing one is read as 0")
    ),
    "never_missing_read_as_rare": NoteKind(
        marked("no row that is fitted lacks '%(feature)s'; a missing one is read as a rare one")
    ),
    # Values of another type than the spec says.
    "text_for_number": NoteKind(
        marked(
            "'%(feature)s' is numeric, but %(share)s of its values were logged as text, such as "
            "%(example)s: they count as missing; log numbers, or write categorical in the spec"
        ),
        True,
    ),
    "truth_for_number": NoteKind(
        marked(
            "'%(feature)s' is numeric, but %(share)s of its values were logged as text, such as "
            "%(example)s: they count as missing; log true and false without quotes"
        ),
        True,
    ),
    "date_for_number": NoteKind(
        marked(
            "'%(feature)s' is numeric, but %(share)s of its values are dates, such as %(example)s: "
            "they count as missing; use days, as customer.birthday.days_since has them"
        ),
        True,
    ),
    "neither_number_nor_text": NoteKind(
        marked(
            "%(share)s of the values of '%(feature)s' are lists or objects: they count as missing"
        ),
        True,
    ),
    "mixed_types": NoteKind(
        marked(
            "%(share)s of the values of '%(feature)s' are texts, such as %(example)s, the others "
            'are not: "5" and 5 are two categories; log one type'
        ),
        True,
    ),
    # Categories.
    "folded": NoteKind(
        marked(
            "'%(feature)s' has %(count)s categories; the %(kept)s most frequent are kept apart, "
            "the others (%(share)s of its values) count as missing"
        ),
        True,
    ),
    "new_categories": NoteKind(
        marked(
            "%(share)s of the values of '%(feature)s' among the rows held out are categories that "
            "no fitted row has: they count as missing"
        ),
        True,
    ),
    "id_like": NoteKind(
        marked(
            "'%(feature)s' has %(count)s categories in %(rows)s rows: it names single cases, and "
            "says nothing about new ones; leave it out"
        ),
        True,
    ),
    # What may tell the response, or be no response at all.
    "tells_the_response": NoteKind(
        marked(
            "'%(feature)s' alone nearly tells who responds (AUC %(auc)s): is it known before the "
            "decision, and no consequence of the response? If not, leave it out"
        ),
        True,
    ),
    "too_good": NoteKind(
        marked(
            "the model nearly always tells who responds (AUC %(auc)s on rows that it has not "
            "seen): look for a feature that is known only after the decision"
        ),
        True,
    ),
    "follows_the_decision": NoteKind(
        marked(
            "%(event)s counts as a response, but it follows whenever a message is given: it says "
            "nothing about what customers want"
        ),
        True,
    ),
    "begins_the_decision": NoteKind(
        marked(
            "%(share)s of the rows were decided on %(event)s, which also counts as their response: "
            "whoever sends one often sends the next, whatever is said to them"
        ),
        True,
    ),
    # Rows.
    "few_judged": NoteKind(
        marked(
            "the figures are of %(rows)s rows with %(responses)s responses: with fewer than "
            "%(least)s rows, or %(each)s with and without a response, they say little"
        ),
        True,
    ),
    "impossible_probability": NoteKind(
        marked(
            "%(file)s, row %(row)s: the selection probability of decision %(decision)s is "
            "%(probability)s; it must be above 0 and at most 1"
        ),
        True,
    ),
    "silence_not_random": NoteKind(
        marked(
            "customers who were told nothing differ by '%(feature)s' (%(error)s standard errors) "
            "more than chance makes them: silence did not fall as probably as is logged, so the "
            "uplift may be that of other customers"
        ),
        True,
    ),
    "clipped": NoteKind(
        marked(
            "%(rows)s rows (%(share)s) count less than 1 / their selection probability, which is "
            "above %(clip)s (weights: in the spec)"
        )
    ),
    # While a model serves.
    "missing_when_serving": NoteKind(
        marked(
            "'%(feature)s' had a value in %(share)s of the training rows, and has none in the last "
            "%(rows)s messages given: does whoever asks still send it?"
        ),
        True,
    ),
    "text_when_serving": NoteKind(
        marked(
            "'%(feature)s' is numeric, but %(share)s of its values come as text now, such as "
            "%(example)s: they count as missing"
        ),
        True,
    ),
}
"""The kinds of all notes; values are named in their texts."""


class Note(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note as it is kept: shares are numbers of 0 to 1.

    >>> note = Note(kind="constant", values={"feature": "time.hour", "rows": 6000})
    >>> note.text()
    "'time.hour' is the same in all 6,000 rows that are fitted"
    >>> note.caution
    False
    """

    kind: str
    values: dict[str, str | int | float] = {}

    @property
    def caution(self) -> bool:
        """Whether the model may be wrong because of it."""
        kind = KINDS.get(self.kind)
        return kind is None or kind.caution

    def text(self) -> str:
        """The note as a sentence, which other languages can say."""
        kind = KINDS.get(self.kind)
        if kind is None:  # of a later release
            told = ", ".join(f"{name} {value}" for name, value in self.values.items())
            return f"{self.kind}: {told}"
        return Said(kind.text, **{name: _shown(value) for name, value in self.values.items()})


AnyNote = Note | str
"""Manifests of earlier releases have texts."""


def note(kind: str, **values: str | int | float) -> Note:
    """A note of a kind with its values."""
    return Note(kind=kind, values=values)


def text_of(one: AnyNote) -> str:
    """What a note says."""
    return one if isinstance(one, str) else one.text()


def is_caution(one: AnyNote) -> bool:
    """Whether the model may be wrong because of a note; of earlier releases' it is not known."""
    return isinstance(one, Note) and one.caution


def cautions_first(notes: Iterable[AnyNote]) -> list[AnyNote]:
    """The notes in the order in which they should be read."""
    return sorted(notes, key=lambda one: not is_caution(one))


def _shown(value: str | float) -> str:
    """A value as texts have it; shares are floats."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else _percent(value)


def _percent(share: float) -> str:
    """A share that is neither 0 nor 1 is not shown as one.

    >>> _percent(0.99999), _percent(1e-6), _percent(0.5)
    ('>99.9%', '<0.1%', '50.0%')
    """
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"
