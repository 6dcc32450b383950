"""A draft's texts are shown as they would be read, beside those in force."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.drafts.preview import MOST, preview
from decision.drafts.rehearsals import RehearsalFailed, Rehearsals
from decision.engine.message_views import Somebody
from decision.rulebook.reader import load_files
from tests.drafts.conftest import MESSAGES, SETUP

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
LI = Somebody(document=Document(customer_id="c-1", attributes={"first_name": "丽"}))
TEXT = """\
    content:
      title: "Tea for {{ customer.first_name }}{{ customer.first_nam }}"
"""
WORDED = MESSAGES.replace("    value: 3\n", "    value: 3\n" + TEXT)


def policy(messages: str) -> PolicyDefinition:
    found = load_files({"setup.yaml": SETUP, "messages.yaml": messages}, "rules").definition
    assert found is not None
    return found


def test_a_changed_text_is_rendered_before_and_after_and_says_what_is_not_known() -> None:
    old = policy(WORDED.replace("Tea for", "Coffee for"))
    (one,) = preview(policy(WORDED), old, LI, NOW).messages
    assert (one.name, one.change, one.source) == ("coupon", "changed", "rules/messages.yaml:2")
    assert [each.content["title"] for each in (*one.old, *one.new)] == [
        "Coffee for 丽",
        "Tea for 丽",
    ]
    assert one.new[0].missing == ["customer.first_nam"]


def test_what_does_not_change_a_text_is_left_to_the_what_if() -> None:
    changed = MESSAGES.replace("value: 3", "value: 4").replace("messages:", "# more\nmessages:")
    assert preview(policy(changed), policy(MESSAGES), LI, NOW).messages == []


def test_messages_that_come_and_go_are_named_and_very_many_are_counted() -> None:
    renamed = policy(MESSAGES.replace("  tips:", "  advice:"))
    found = preview(renamed, policy(MESSAGES), LI, NOW).messages
    assert [(one.name, one.change) for one in found] == [("advice", "new"), ("tips", "removed")]
    assert [one.channel for one in (*found[0].new, *found[1].old)] == ["email", "email"]
    many = "messages:\n" + "".join(
        MESSAGES.partition("\n")[2].replace("  coupon:", f"  c{n}:").replace("  tips:", f"  t{n}:")
        for n in range(MOST)
    )
    counted = preview(policy(many), None, LI, NOW)
    assert (len(counted.messages), counted.total) == (MOST, 2 * MOST)
    assert msgspec.json.decode(msgspec.json.encode(counted), type=type(counted)) == counted


@pytest.mark.anyio
async def test_a_draft_with_errors_has_no_preview_and_says_so() -> None:
    with pytest.raises(RehearsalFailed, match="the draft has errors"):
        await Rehearsals().preview({"messages.yaml": "messages: 3"}, {}, LI)
