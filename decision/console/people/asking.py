"""What somebody fills in to see what a customer would get: placement, time, channel, context."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from decision.console.forms import Form
from decision.console.language import N_
from decision.core.clock import to_micros
from decision.core.schema import DecisionRequest, TriggerEvent

LONGEST: Final = 16_000
"""Characters of a context or an event's properties."""

_FURTHEST: Final = timedelta(days=366)
_SLACK: Final = timedelta(minutes=1)


class Asked(msgspec.Struct, kw_only=True):
    """The form as it was filled in. `problems` is field → what is wrong with it, as a sentence.

    `moment` is None for now; `request` None where something is wrong, or nothing was asked.
    """

    placement: str = ""
    at: str = ""
    channel: str = ""
    context: str = ""
    event: str = ""
    properties: str = ""
    problems: dict[str, str] = {}
    moment: datetime | None = None
    request: DecisionRequest | None = None

    @property
    def query(self) -> dict[str, str]:
        """The fields for the address."""
        names = ("placement", "at", "channel", "context", "event", "properties")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def asked_of(
    form: Form, customer_id: str, zone: ZoneInfo, now: datetime, say: Callable[..., str]
) -> Asked:
    """What a form asks; times without a zone are of `zone`."""
    asked = Asked(
        placement=form.text("placement").strip(),
        at=form.text("at").strip(),
        channel=form.text("channel").strip(),
        event=form.text("event").strip(),
        context=form.long_text("context").strip(),
        properties=form.long_text("properties").strip(),
    )
    if not asked.placement:
        return asked
    problems: dict[str, str] = {}
    asked.problems = problems
    asked.moment = _moment(asked.at, zone, now, problems, say)
    context = _pairs("context", asked.context, problems, say)
    properties = _pairs("properties", asked.properties, problems, say)
    if problems:
        return asked
    event = {"type": asked.event, "properties": properties} if asked.event else None
    given: dict[str, Any] = {
        "placement": asked.placement,
        "customer_id": customer_id,
        "context": context,
        "channels": [asked.channel] if asked.channel else None,
        "limit": 1,
    }
    try:
        trigger = None if event is None else msgspec.convert(event, TriggerEvent)
        asked.request = msgspec.convert({**given, "event": trigger}, DecisionRequest)
    except msgspec.ValidationError as error:
        problems["form"] = str(error)
    return asked


def _moment(
    text: str, zone: ZoneInfo, now: datetime, problems: dict[str, str], say: Callable[..., str]
) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        found = (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        problems["at"] = say(N_("This is no time; write it as 2026-12-24T18:00."))
        return None
    if found < now - _SLACK:
        problems["at"] = say(N_("This time is over. Decisions that were made are in the timeline."))
    elif found > now + _FURTHEST:
        problems["at"] = say(N_("This is more than a year ahead."))
    return None if found <= now else found


def _pairs(
    name: str, text: str, problems: dict[str, str], say: Callable[..., str]
) -> dict[str, Any]:
    """A JSON object, or a line `key=value` for each: a value is JSON where it can be, else text."""
    if len(text) > LONGEST:
        problems[name] = say(N_("This is too long: at most %(n)s characters."), n=LONGEST)
        return {}
    if text.startswith("{"):
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError) as error:
            problems[name] = say(N_("This is no JSON object: %(error)s"), error=error)
            return {}
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = line.partition("=")
        if line.strip() and not (equals and key.strip()):
            problems[name] = say(
                N_("Line %(n)s is not key=value; write one on each line, or a JSON object."),
                n=number,
            )
        elif line.strip():
            found[key.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return text


def micros(moment: datetime | None) -> int | None:
    """Microseconds since 1970; None for now."""
    return None if moment is None else to_micros(moment)
