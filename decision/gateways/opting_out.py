"""The link to opt out in what is delivered, whatever the type of the gateway.

The text `%unsubscribe_url%` in a content becomes the link, and templates of gateways read it as
`delivery.unsubscribe_url`. Without `unsubscribe` in the gateways file there is no link: what needs
one is rejected, as nobody could opt out by what would stand there.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

import msgspec

from decision.gateways.protocol import (
    AudienceGateway,
    AudiencePortion,
    Gateway,
    OnUnknown,
    Outgoing,
    Rejected,
    Result,
)
from decision.gateways.unsubscribe import OptOut, UnsubscribeLinks

PLACEHOLDER: Final = "%unsubscribe_url%"
"""In the content of a message: the link to opt out."""

_LANGUAGE: Final = 35
"""Characters of a customer's language in a link: any tag of RFC 5646 that is in use."""

NO_LINK: Final = (
    f"the content has {PLACEHOLDER}, and the gateways file has no unsubscribe: that link would do "
    "nothing, so nothing is sent"
)


def needs_link(content: Any) -> bool:
    """Whether a text of the content, at any depth, has the placeholder.

    >>> needs_link({"html": "<a href='%unsubscribe_url%'>No more</a>"}), needs_link({"html": "Hi"})
    (True, False)
    """
    if isinstance(content, dict | list):
        return any(map(needs_link, content.values() if isinstance(content, dict) else content))
    return isinstance(content, str) and PLACEHOLDER in content


def linked(outgoing: Outgoing, links: UnsubscribeLinks) -> Outgoing:
    """The delivery with its link, also where its content has the placeholder.

    The link of a message that nobody can refuse is of no purpose: it refuses all that can be
    refused on the channel.
    """
    link = links.link(
        OptOut(
            customer_id=outgoing.customer_id,
            decision_id=outgoing.decision_id,
            message=outgoing.message,
            channel=outgoing.channel,
            purpose=outgoing.purpose if outgoing.refusable else "",
            language=None if outgoing.language is None else outgoing.language[:_LANGUAGE],
        )
    )
    content = outgoing.content
    if needs_link(content):
        content = _filled(content, "", link)
    return msgspec.structs.replace(outgoing, content=content, unsubscribe_url=link)


def _filled(value: Any, field: str, link: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, key, link) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, field, link) for one in value]
    if isinstance(value, str):
        is_html = field.lower().endswith("html")
        return value.replace(PLACEHOLDER, escape(link) if is_html else link)
    return value


class LinkedGateway:
    """A gateway whose deliveries have their link to opt out."""

    def __init__(self, gateway: Gateway, links: UnsubscribeLinks | None) -> None:
        self.gateway = gateway
        self._links = links

    @property
    def on_unknown_default(self) -> OnUnknown:
        """That of the gateway."""
        return self.gateway.on_unknown_default

    def __getattr__(self, name: str) -> Any:
        return getattr(self.gateway, name)

    async def send(self, outgoing: Outgoing) -> Result:
        """One attempt; none where the content has the placeholder, and there are no links."""
        if self._links is not None:
            outgoing = linked(outgoing, self._links)
        elif needs_link(outgoing.content):
            return Rejected(NO_LINK)
        return await self.gateway.send(outgoing)

    async def close(self) -> None:
        """Closes the gateway."""
        await self.gateway.close()


class LinkedAudienceGateway(LinkedGateway):
    """One that also takes audiences; these have no links."""

    gateway: Any

    async def send_portion(self, portion: AudiencePortion) -> Result:
        """One attempt to hand over a portion."""
        result: Result = await self.gateway.send_portion(portion)
        return result


def with_links(gateway: Gateway, links: UnsubscribeLinks | None) -> LinkedGateway:
    """The gateway, whose deliveries have their link from now on."""
    takes_audiences = isinstance(gateway, AudienceGateway)
    return (LinkedAudienceGateway if takes_audiences else LinkedGateway)(gateway, links)
