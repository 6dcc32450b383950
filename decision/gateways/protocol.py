"""What a gateway takes and answers. A type of gateway needs nothing but this module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Protocol, runtime_checkable
from urllib.parse import quote

import msgspec
from msgspec import Meta, field

from decision.core.clock import time_text
from decision.gateways.reports import ReportsConfig

OnUnknown = Literal["hold", "again"]
"""What to do where the answer was lost: wait for somebody to decide, or send once more."""

_VISIBLE: Final = "".join(chr(sign) for sign in range(0x21, 0x7F) if chr(sign) not in "%")


def header_text(delivery_id: str) -> str:
    """The id of a delivery as a header can have it."""
    return quote(delivery_id, safe=_VISIBLE)


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to deliver one message to one customer.

    `id` names the delivery, the same in every attempt: `<decision id>.<message>`. `content` is
    rendered. `attributes` and `aliases` (type → values, the newest last) are the customer's of now:
    where to deliver is found there. `refusable` is whether the customer can opt out of the purpose.
    `at` is when it was decided, in microseconds; `attempt` counts from 1. `unsubscribe_url` opts
    out with one click, and is in the content already; None where the file has no `unsubscribe`.
    """

    id: str
    decision_id: str
    message: str
    channel: str
    customer_id: str
    content: dict[str, Any]
    attributes: Mapping[str, Any] = {}
    aliases: Mapping[str, Sequence[str]] = {}
    language: str | None = None
    purpose: str = ""
    category: str = ""
    placement: str = ""
    at: int = 0
    attempt: int = 1
    refusable: bool = True
    unsubscribe_url: str | None = None

    @property
    def key(self) -> str:
        """The id as a header can have it: `webhook-id` and every idempotency key.

        >>> at = {"channel": "sms", "customer_id": "ann", "content": {}}
        >>> Outgoing(id="01J.hello", decision_id="01J", message="hello", **at).key
        '01J.hello'
        >>> Outgoing(id="01J.caf\u00e9 au lait", decision_id="01J", message="", **at).key
        '01J.caf%C3%A9%20au%20lait'
        """
        return header_text(self.id)

    def address(self, kind: str) -> str | None:
        """Where the customer is reached: the attribute of that name, else the newest such alias.

        >>> at = {"id": "", "decision_id": "", "message": "", "channel": "", "content": {}}
        >>> Outgoing(**at, customer_id="ann", attributes={"email": "a@b.de"}).address("email")
        'a@b.de'
        """
        attribute = self.attributes.get(kind)
        own = [attribute] if isinstance(attribute, str) else []
        return next(filled([*self.aliases.get(kind, ()), *own]), None)


def filled(values: Sequence[str]) -> Iterator[str]:
    """Those that are not blank, the last first, without blanks around."""
    return filter(None, map(str.strip, reversed(values)))


class Accepted(msgspec.Struct, frozen=True):
    """The provider has it. `provider_id` is the name by which the provider's reports know it."""

    provider_id: str | None = None


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """It was not delivered, and may be later; `after` is in seconds, where the provider says it.

    `refused`: it is the login that the provider refuses, so somebody has to do something.
    """

    after: float | None = None
    reason: str = ""
    refused: bool = False


class Rejected(msgspec.Struct, frozen=True):
    """It will never be delivered. `disable`: the provider wants nothing more from this gateway.

    Then the gateway is paused, and the delivery waits with the others until somebody resumes it.
    """

    reason: str
    disable: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """It was handed over, and the answer was lost: it may have been delivered, or not."""

    reason: str


Result = Accepted | Retry | Rejected | Unknown
"""What became of an attempt. Reasons are for operators, without secrets and customers."""


class AudiencePortion(msgspec.Struct, frozen=True, kw_only=True):
    """Some customers of an audience, handed over in one call: to advertising platforms, to tools.

    `id` names the portion: the run, a point, and its place, which counts from 1. It is the same in
    every attempt; what is in it may be less in a later one, where somebody has opted out meanwhile.
    `audience` is the segment, or the file with the condition. Each of `rows` is column → value;
    in a run that tells `differences`, the column `change` is `joined` or `left`. `last`: no portion
    comes after it. `at` is when the run began, in microseconds.
    """

    id: str
    run: str
    place: int
    last: bool
    audience: str
    rows: Sequence[Mapping[str, Any]]
    purpose: str | None = None
    channel: str | None = None
    differences: bool = False
    at: int = 0

    @property
    def key(self) -> str:
        """The id as a header can have it: `webhook-id` and every idempotency key."""
        return header_text(self.id)

    def payload(self) -> dict[str, Any]:
        """What is sent: type, timestamp and data, as Standard Webhooks recommends."""
        data = {
            "id": self.id,
            "run": self.run,
            "place": self.place,
            "last": self.last,
            "audience": self.audience,
            "purpose": self.purpose,
            "channel": self.channel,
            "differences": self.differences,
            "customers": self.rows,
        }
        return {"type": "audience.portion", "timestamp": time_text(self.at), "data": data}


class Seconds(float):
    """A span of time in a config, written as `30s` or `5m`."""


class Share(float):
    """A share in a config, written as `1%`."""


class Pause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares within an hour at which a gateway is paused; a warning comes at half of them.

    `least` is how many deliveries an hour must have before its shares count.
    """

    complaints: Share = field(default_factory=lambda: Share(0.01))
    bounces: Share = field(default_factory=lambda: Share(0.10))
    least: Annotated[int, Meta(ge=1)] = 100


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every type of gateway can be told; types add their own fields.

    `on_unknown` left out: the type's own default. `timeout` bounds one attempt, at most 5m.
    `concurrency` is how many attempts one worker makes at once. `allow_private` allows targets on
    private and loopback addresses: all, or those of the networks named. `reports` says who
    tells the server what became of deliveries.
    """

    on_unknown: OnUnknown | None = None
    timeout: Seconds = field(default_factory=lambda: Seconds(15))
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 16
    allow_private: bool | list[str] = False
    pause: Pause = field(default_factory=Pause)
    reports: ReportsConfig | None = None

    @property
    def tells_of_deliveries(self) -> bool:
        """Whether what is sent says anything of the delivery that it is sent for."""
        return True

    def __repr__(self) -> str:
        # Fields hold secrets, and what is printed gets into logs.
        return f"<{type(self).__name__}>"

    __str__ = __repr__


class Gateway(Protocol):
    """Delivers. One object per process and gateway; `send` is called concurrently.

    `send` answers within its time limit and raises nothing for what others do wrong: an exception
    is a defect, and counts as an unknown outcome.
    """

    @property
    def on_unknown_default(self) -> OnUnknown:
        """What to do where the answer was lost, unless the config says it."""
        ...

    async def send(self, outgoing: Outgoing) -> Result:
        """Makes one attempt."""
        ...

    async def close(self) -> None:
        """Gives back what is open; nothing is sent afterwards."""
        ...


@runtime_checkable
class AudienceGateway(Protocol):
    """Takes audiences, besides or instead of messages. A portion may come again with its id.

    Where it depends on the config, a property `why_no_portions` says why it takes none, or is None.
    """

    async def send_portion(self, portion: AudiencePortion) -> Result:
        """Makes one attempt; what holds for `Gateway.send` holds for it."""
        ...

    async def close(self) -> None:
        """Gives back what is open."""
        ...
