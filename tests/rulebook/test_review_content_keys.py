"""A key that one message alone has in its content is held against those that many have."""

from __future__ import annotations

import pytest

from decision.rulebook.reader import load_files
from decision.rulebook.review.content_keys import OFTEN

SHOP = """\
settings: {exploration: off}
purposes: {marketing: {consent: opt_in}}
channels: {push: {}, email: {}}
placements: {outbound: {channels: [push, email]}}
messages:
"""
MESSAGE = "  m{n}: {{purpose: marketing, channels: [push, email], value: 1, content: {content}}}\n"


def told(once: str, often: str, times: int = OFTEN) -> list[tuple[str, int, str]]:
    """(message, column, hint) of what the checker finds."""
    contents = [often] * times + [once]
    text = "".join(MESSAGE.format(n=n, content=one) for n, one in enumerate(contents))
    found = load_files({"shop.yaml": SHOP + text}, "rules")
    assert found.definition is not None, found.diagnostics
    return [
        (one.message, one.column, one.hint or "")
        for one in found.diagnostics
        if one.code == "doubtful-key"
    ]


def test_a_slip_is_told_at_its_key_with_the_one_that_was_meant() -> None:
    ((message, column, hint),) = told("{titel: A, body: B}", "{title: A, body: B}")
    assert message == f'no other message has "titel" in its content; {OFTEN} have "title"'
    assert hint == "did you mean title?"
    line = MESSAGE.format(n=OFTEN, content="{titel: A, body: B}")
    assert line[column - 1 :].startswith("titel")


@pytest.mark.parametrize(
    ("once", "often"),
    [
        ("{push: {titel: A}}", "{title: A}"),  # of a channel alone
        ("{titel: A}", "{email: {title: A}}"),
        ("{button: {lable: A}}", "{button: {label: A}}"),
        (
            "{buttons: [{label: A}, {lable: B, x: 1}]}",
            "{button: [{label: A}], buttons: [{label: C}]}",
        ),
    ],
)
def test_channels_objects_and_lists_are_looked_into(once: str, often: str) -> None:
    if "buttons" in once:  # the message has both: an app may read both
        assert told(once, often) == []
    else:
        assert len(told(once, often)) == 1


@pytest.mark.parametrize(
    ("once", "often"),
    [
        ("{title: A, titles: B}", "{title: A}"),  # it has both
        ("{button: {title: A}, text: B}", "{titel: A}"),  # at another place
        ("{image1: A}", "{image2: A}"),
        ("{url: A}", "{urn: A}"),  # short words are other words
        ("{subject: A}", "{title: A}"),
    ],
)
def test_another_key_is_none(once: str, often: str) -> None:
    assert told(once, often) == []


def test_a_key_that_few_have_tells_nothing_of_others() -> None:
    assert told("{titel: A}", "{title: A}", OFTEN - 1) == []
