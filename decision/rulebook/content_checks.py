"""What is wrong with the content of messages in rule files."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from decision.core.definition import Message
from decision.core.values import in_words
from decision.rulebook.checker import Checker
from decision.rulebook.content import content_for, most_of
from decision.rulebook.content_hints import doubts
from decision.rulebook.doubtful import doubtful_name, part_of_date
from decision.rulebook.field_names import known_field
from decision.rulebook.lengths import TYPICAL, text_messages
from decision.rulebook.namesakes import field_meant, in_list, namesake
from decision.rulebook.template_fixes import fix_of
from decision.rulebook.template_syntax import LONGEST_TEXT, TemplateError, is_template
from decision.rulebook.templates import compile_template
from decision.rulebook.urls import FORBIDDEN, fixed_scheme, is_url
from decision.rulebook.yaml_source import Node


def is_sms(channel: str) -> bool:
    """Whether a channel sends text messages: `sms`, `sms-…` or `sms_…`."""
    return channel == "sms" or channel.startswith(("sms-", "sms_"))


def read_content(
    checker: Checker, node: Node, what: str, channels: tuple[str, ...], *, coupon: str = ""
) -> dict[str, Any] | None:
    """The content of a message on those channels; checks that its texts are templates.

    `coupon`: the pool of which the message gives a code, that they may print.
    """
    if not isinstance(node.value, dict):
        checker.wrong_type(node, what, "a mapping of fields and texts")
        return None
    for key, item in node.value.items():
        is_part = isinstance(item.value, dict) and key in checker.names["channels"]
        if is_part and key not in channels:
            message = f'{what} has a part for "{key}", but the message has no such channel'
            hint = f"add {key} to the channels of the message, or delete the part"
            checker.error("conflict", item.key, message, hint)
        _check(checker, item, f"{key} of {what}", key, coupon)
    found: dict[str, Any] = node.plain()
    return found


def _check(checker: Checker, node: Node, what: str, field: str, coupon: str) -> None:
    value = node.value
    if isinstance(value, dict):
        for key, item in value.items():
            _check(checker, item, f"{key} of {what}", key, coupon)
    elif isinstance(value, list):
        for item in value:
            _check(checker, item, what, field, coupon)
    elif isinstance(value, str):
        _check_text(checker, node, what, field, coupon)


def _check_text(checker: Checker, node: Node, what: str, field: str, coupon: str) -> None:
    text: str = node.value
    if is_template(text):
        try:
            template = compile_template(text)
        except TemplateError as error:
            line = f", in line {error.line} of the text" if error.line > 1 else ""
            fix = fix_of(text)
            hint = f"write {fix}" if fix else _hint(checker, error)
            checker.error("bad-template", node.at, f"{what}{line}: {error}", hint)
            return
        for name in template.fields:
            known_field(checker, name, node.at)
        for name in template.given:
            names = checker.names
            found = namesake(name, names) or in_list(name, names, in_text=True)
            if found := found or _of_date(name):
                checker.warn(node.at, f"{what}: {found[0]}", found[1], "doubtful-template")
        if "coupon" in template.names and not coupon:
            message = f"{what}: coupon.code has no value, because the message gives no coupon"
            pools = checker.names["coupons"]
            name = next(iter(pools), "spring-10")
            hint = f"add coupon: {name} to the message"
            if not pools:
                hint += f", and a section coupons: {{{name}: {{give_back_after: 14d}}}}"
            checker.error("bad-template", node.at, message, hint)
    elif len(text) > LONGEST_TEXT:
        message = f"{what} has {len(text):,} characters; {LONGEST_TEXT:,} are allowed"
        hint = "keep long texts in the system that sends them, and write only their name here"
        checker.error("bad-value", node.at, message, hint)
        return
    if is_url(field, text) and fixed_scheme(text) in FORBIDDEN and not checker.again:
        message = f"{what} cannot begin with {fixed_scheme(text)}:, which runs code or opens files"
        checker.error("bad-value", node.at, message, "write https://…, or the scheme of your app")
    for doubt in doubts(text):
        checker.warn(node.at, f"{what}: {doubt.message}", doubt.hint, doubt.code)


def _of_date(name: str) -> tuple[str, str] | None:
    """What is doubtful about a part, or nearly a measure, of a date that a text prints."""
    if part := part_of_date(name):
        message = f"{name} has a value only where {part[0]} is an object, no date"
        return message, f"write {{{{ {part[0]} | date('{part[2]}') }}}}"
    return doubtful_name(name) if name.startswith("customer.") else None


def _hint(checker: Checker, error: TemplateError) -> str:
    """The hint of an error; of a name that a score or calendar has, the field that it means."""
    unknown = re.match('there is no "([^"]+)" in templates', str(error))
    field = field_meant(unknown[1], checker.names) if unknown else ""
    return f"write {field}" if field else error.hint


def check_lengths(
    checker: Checker,
    node: Node,
    message: Message,
    limits: Mapping[str, Mapping[str, int]],
    fallback_on: Container[str],
) -> None:
    """Checks that fields are not longer than a channel (name → field → characters) allows.

    An error if the text is too long with any values; a warning if it is with typical values, if it
    can be where the message is a fallback (`fallback_on`, channels), or if a text without a limit
    needs more than one SMS, which HTML for email is not sent as.
    """
    for channel in message.channels:
        known = limits.get(channel, {})
        for field in content_for(message, channel):
            item = _field_node(node, message, channel, field)
            if item is None or not isinstance(item.value, str):
                continue
            found = _lengths(item.value)
            if found is None:
                continue
            what = f"{field} of message {in_words(message.name)}"
            if field in known:
                _check_limit(checker, item, what, channel, known[field], *found)
                most = most_of(item.value, field, channel)
                if channel in fallback_on and len(found[1]) <= known[field] < most:
                    checker.warn(
                        item.at,
                        f"{what}, which is a fallback, can have more characters than the "
                        f"{known[field]} that {channel} allows; then nothing is given",
                        "shorten every value in it with | shorten(…), so that it always fits",
                        "too-long",
                    )
            elif is_sms(channel) and not field.lower().endswith("html"):
                _check_sms(checker, item, what, channel, field, found[1])


def _lengths(text: str) -> tuple[int, str] | None:
    """The least number of characters, and the text with typical values."""
    if not is_template(text):
        return len(text), text
    try:
        template = compile_template(text)
    except TemplateError:  # has a diagnostic already
        return None
    return template.least_length, template.typical


def _check_limit(
    checker: Checker, item: Node, what: str, channel: str, limit: int, least: int, typical: str
) -> None:
    if least > limit:
        reason = f"{what} has {least} characters; {channel} allows {limit}"
        hint = f"shorten it, or add a shorter text under {channel}:"
        checker.error("bad-value", item.at, reason, hint)
    elif len(typical) > limit:
        checker.warn(
            item.at,
            f"{what} has about {len(typical)} characters; {channel} allows {limit}, and a customer "
            "for whom it is longer does not get the message there (too_long)",
            f"write less, or use | shorten(…) on a value, which counts as {TYPICAL} characters",
            "too-long",
        )


def _check_sms(
    checker: Checker, item: Node, what: str, channel: str, field: str, typical: str
) -> None:
    found = text_messages(typical)
    if found.parts > 1:
        checker.warn(
            item.at,
            f"{what} has about {len(typical)} characters, so it needs {found.parts} SMS of "
            f"{found.size} characters ({found.alphabet})",
            f"shorten it, or allow it: write max_length: {{{field}: …}} in channel {channel}",
            "too-long",
        )


def _field_node(node: Node, message: Message, channel: str, field: str) -> Node | None:
    own = node.value.get(channel) if channel in message.channels else None
    if own is not None and isinstance(own.value, dict) and field in own.value:
        found: Node = own.value[field]
        return found
    common: Node | None = node.value.get(field)
    return common
