"""A message's content: chosen for a channel, rendered for a customer.

`content` is any mapping; its texts are templates, also inside lists and mappings. A part with the
name of one of the message's channels replaces the same fields on that channel:

    content: {title: "Hello", body: "…", sms: {body: "short"}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from decision.core.definition import Channel, Message
from decision.core.masks import mask_where
from decision.core.policy import Policy
from decision.core.texts import Contents
from decision.rulebook.template_names import Namespaces
from decision.rulebook.template_syntax import TemplateError, is_template
from decision.rulebook.templates import Template, compile_template
from decision.rulebook.urls import is_url

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
            if most_of(content.get(field), field, channel.name) > limit
        }


def compile_contents(policy: Policy) -> Contents:
    """The contents of a policy's candidates."""
    candidates = [ChannelContent(message, channel) for message, channel in policy.pairs]
    bounded = mask_where(bool(one.limits) for one in candidates)
    return Contents(candidates, bounded)


def most_of(text: Any, field: str, channel: str) -> float:
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


def needed_fields(content: dict[str, Any]) -> tuple[str, ...]:
    """The attributes and properties that templates of a content print as if always there."""
    return tuple(dict.fromkeys(name for one in _templates(content) for name in one.needed))


def prints_code(content: dict[str, Any]) -> bool:
    """Whether a template of a content prints the code of a coupon."""
    return any("coupon" in one.names for one in _templates(content))


def given_fields(content: dict[str, Any]) -> tuple[str, ...]:
    """The attributes, properties and context that templates of a content read."""
    return tuple(dict.fromkeys(name for one in _templates(content) for name in one.given))


def _templates(value: Any) -> Iterator[Template]:
    """The templates among the texts of a content, at any depth; those with errors left out."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _templates(item)
    elif isinstance(value, str) and is_template(value):
        with suppress(TemplateError):
            yield compile_template(value)
