"""A message's content: chosen for a channel, rendered for a customer, checked in the rule files.

`content` is any mapping; its texts are templates, also inside lists and mappings. A part with the
name of one of the message's channels replaces the same fields on that channel:

    content: {title: "Hello", body: "…", sms: {body: "short"}}
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from typing import Any

from decision.core.definition import Channel, Message
from decision.core.masks import mask_where
from decision.core.policy import Policy
from decision.core.texts import Contents
from decision.core.values import in_words
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import check_field
from decision.rulebook.lengths import TYPICAL, text_messages
from decision.rulebook.template_syntax import LONGEST_TEXT, TemplateError, is_template
from decision.rulebook.template_values import Namespaces
from decision.rulebook.templates import Template, compile_template
from decision.rulebook.urls import is_url
from decision.rulebook.yaml_source import Node

Render = Callable[[Namespaces], dict[str, Any]]
"""Gives the content for `{"customer": …, "event": …, "context": …, "placement": …}`."""

_RenderAny = Callable[[Namespaces], Any]


def content_for(message: Message, channel: str) -> dict[str, Any]:
    """The message's content on one of its channels, not yet rendered."""
    own = {name for name in message.channels if isinstance(message.content.get(name), dict)}
    common = {key: value for key, value in message.content.items() if key not in own}
    return {**common, **message.content[channel]} if channel in own else common


class ChannelContent:
    """A message's content on one channel, compiled.

    `limits` has the fields whose text can be longer than the channel takes, and how much it takes.
    """

    def __init__(self, message: Message, channel: Channel) -> None:
        content = content_for(message, channel.name)
        self.render = compile_content(content, channel=channel.name)
        self.limits = {
            field: limit
            for field, limit in channel.max_length.items()
            if _most(content.get(field), field, channel.name) > limit
        }


def compile_contents(policy: Policy) -> Contents:
    """The contents of a policy's candidates."""
    candidates = [ChannelContent(message, channel) for message, channel in policy.pairs]
    bounded = mask_where(bool(one.limits) for one in candidates)
    return Contents(candidates, bounded)


def _most(text: Any, field: str, channel: str) -> float:
    """The most characters that a field can have; 0 if it is no text."""
    if not isinstance(text, str):
        return 0
    return template_of(text, field, channel).most if is_template(text) else len(text)


def template_of(text: str, field: str, channel: str) -> Template:
    """The template of a field: HTML in e-mails and URLs have rules of their own.

    Raises:
        TemplateError: it is not a valid template.
    """
    escapes = channel == "email" and field.lower().endswith("html")
    return compile_template(text, escapes, not escapes and is_url(field, text))


def compile_content(content: dict[str, Any], *, channel: str = "") -> Render:
    """The content as a function of the namespaces; the given dict itself if nothing varies.

    On the channel `email`, values printed in fields with a name that ends in `html` are made safe
    for HTML. In fields that are URLs, values are encoded. Rendering does not fail, and reads only
    the namespaces.

    Raises:
        TemplateError: a text is not a valid template.
    """
    parts = {
        key: render
        for key, value in content.items()
        if (render := _compile(value, key, channel)) is not None
    }
    if not parts:
        return lambda namespaces: content
    return lambda namespaces: {
        key: parts[key](namespaces) if key in parts else value for key, value in content.items()
    }


def _compile(value: Any, key: str, channel: str) -> _RenderAny | None:
    """The value as a function of the namespaces, or None if it does not vary."""
    if isinstance(value, str):
        if not is_template(value):
            return None
        return template_of(value, key, channel).render
    if isinstance(value, dict):
        parts = {name: _compile(item, name, channel) for name, item in value.items()}
        if not any(parts.values()):
            return None
        return lambda namespaces: {
            name: part(namespaces) if part else value[name] for name, part in parts.items()
        }
    if isinstance(value, list):
        items = [(item, _compile(item, key, channel)) for item in value]
        if not any(part for _, part in items):
            return None
        return lambda namespaces: [part(namespaces) if part else item for item, part in items]
    return None


def printed_fields(content: dict[str, Any]) -> tuple[str, ...]:
    """The fields that templates of a content read, besides what customers and requests bring."""
    return tuple(dict.fromkeys(name for one in _templates(content) for name in one.fields))


def _templates(value: Any) -> Iterator[Template]:
    """The templates among the texts of a content, at any depth; those with errors left out."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _templates(item)
    elif isinstance(value, str) and is_template(value):
        with suppress(TemplateError):
            yield compile_template(value)


def is_sms(channel: str) -> bool:
    """Whether a channel sends text messages: `sms`, `sms-…` or `sms_…`."""
    return channel == "sms" or channel.startswith(("sms-", "sms_"))


def read_content(
    checker: Checker, node: Node, what: str, channels: tuple[str, ...]
) -> dict[str, Any] | None:
    """The content of a message on those channels; checks that its texts are templates."""
    if not isinstance(node.value, dict):
        checker.wrong_type(node, what, "a mapping of fields and texts")
        return None
    for key, item in node.value.items():
        is_part = isinstance(item.value, dict) and key in checker.names["channels"]
        if is_part and key not in channels:
            message = f'{what} has a part for "{key}", but the message has no such channel'
            hint = f"add {key} to the channels of the message, or delete the part"
            checker.error("conflict", item.key, message, hint)
        _check(checker, item, f"{key} of {what}")
    found: dict[str, Any] = node.plain()
    return found


def _check(checker: Checker, node: Node, what: str) -> None:
    value = node.value
    if isinstance(value, dict):
        for key, item in value.items():
            _check(checker, item, f"{key} of {what}")
    elif isinstance(value, list):
        for item in value:
            _check(checker, item, what)
    elif isinstance(value, str):
        if is_template(value):
            try:
                template = compile_template(value)
            except TemplateError as error:
                line = f", in line {error.line} of the text" if error.line > 1 else ""
                checker.error("bad-template", node.at, f"{what}{line}: {error}", error.hint)
                return
            for name in template.fields:
                check_field(checker, name, node.at)
            if "coupon" in template.names:
                message = f"{what}: coupon.code has no value, because the message gives no coupon"
                checker.error("bad-template", node.at, message, "write the code itself: SPRING-10")
        elif len(value) > LONGEST_TEXT:
            message = f"{what} has {len(value):,} characters; {LONGEST_TEXT:,} are allowed"
            hint = "keep long texts in the system that sends them, and write only their name here"
            checker.error("bad-value", node.at, message, hint)


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
    needs more than one SMS.
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
                most = _most(item.value, field, channel)
                if channel in fallback_on and len(found[1]) <= known[field] < most:
                    checker.warn(
                        item.at,
                        f"{what}, which is a fallback, can have more characters than the "
                        f"{known[field]} that {channel} allows; then nothing is given",
                        "shorten every value in it with | shorten(…), so that it always fits",
                        "too-long",
                    )
            elif is_sms(channel):
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
