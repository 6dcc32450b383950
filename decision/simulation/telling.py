"""What happens in the simulated shop, in lines: of the cast each thing, of the others a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any, Final

from decision.core import records
from decision.core.clock import from_micros
from decision.core.ports import Commit
from decision.core.records import DecisionRecord, EventRecord, JourneyRecord
from decision.progress import count_of

_MOMENT: Final = "moment."
_COUNTED: Final = {
    "app_open": ("visit", "visits"),
    "sign_up": ("sign-up", "sign-ups"),
    "cart_add": ("basket filled", "baskets filled"),
    "purchase": ("purchase", "purchases"),
    "message.sent": ("message sent", "messages sent"),
    "message.clicked": ("click", "clicks"),
}
"""Types of events, with what one and several of them are called."""

_DOES: Final[Mapping[str, str]] = {
    "app_open": "opens the app",
    "cart_add": "puts {item} into the basket",
    "purchase": "buys for {amount:g}",
    "wechat.follow": "follows the shop on WeChat",
    "wechat.message": "writes on WeChat: {text}",
    "catalogue": "asks for the catalogue of gifts",
    "message.clicked": "touches the message",
    "sign_up": "signs up",
}
_TEXTS: Final = ("title", "text", "subject", "task", "body")
_LONGEST: Final = 60


class Telling:
    """Tells of the `cast`, id → name, in the time zone of the shop; `say` takes a line."""

    def __init__(self, cast: Mapping[str, str], zone: tzinfo, say: Callable[[str], None]) -> None:
        self._cast = cast
        self.zone = zone
        self._say = say
        self._width = max(map(len, cast.values()), default=0)
        self._counts: Counter[str] = Counter()
        self._asked: dict[str, tuple[str, str]] = {}
        """Decision → who asked, and what became of the run: told of once it is sent."""
        self.went_by: Counter[str] = Counter()
        """Journeys of which a run sent something and ended, by how often."""
        self._written: set[str] = set()
        self._begun: set[str] = set()

    def wrote(self, commit: Commit) -> None:
        """The shop has written something of a customer."""
        name = self._cast.get(commit.customer_id)
        said: list[str] = []
        decided: dict[str, DecisionRecord] = {}
        at = 0
        for record in commit.records:
            match record.kind:
                case "event":
                    event = records.decode_event(record.body)
                    at = event.received_at
                    if event.type in _COUNTED:
                        self._counts[event.type] += 1
                    if name is not None:
                        said.append(_done(event))
                case "decision":
                    decided[record.id] = records.decode_decision(record.body)
                case "journey":
                    run = records.decode_journey(record.body)
                    at = run.at
                    self._went(run)
                    if name is not None:
                        said.append(self._of_run(run, decided.get(run.decision_id or "")))
        if name is not None and (line := ", ".join(filter(None, said))):
            self.tell(at, line, name)

    def sent(self, customer_id: str, decision_id: str, channel: str, content: Any, at: int) -> None:
        """A message has left the shop."""
        asker, then = self._asked.pop(decision_id, ("", ""))
        if (name := self._cast.get(customer_id)) is not None:
            text = next((content[key] for key in _TEXTS if content.get(key)), "")
            short = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
            self.tell(at, f'{asker} → {channel} "{short}"{then}'.strip(), name)

    def day_is_over(self, at: int, running: int) -> None:
        """Tells what all customers did since the last time."""
        counts = ", ".join(count_of(self._counts[one], *words) for one, words in _COUNTED.items())
        day = from_micros(at).astimezone(self.zone)
        self._say(f"--- {day:%a %-d %b}: {counts}; {count_of(running, 'run')} under way")
        self._counts.clear()

    def tell(self, at: int, what: str, name: str = "") -> None:
        """A line, with the time in the shop."""
        when = from_micros(at).astimezone(self.zone)
        self._say(f"{when:%a %H:%M}  {name:<{self._width}}  {what}")

    def _went(self, run: JourneyRecord) -> None:
        if run.outcome == "selected":
            self._written.add(run.run)
        if run.ended is not None and run.run in self._written:
            self._written.discard(run.run)
            self.went_by[run.journey] += 1

    def _of_run(self, run: JourneyRecord, decided: DecisionRecord | None) -> str:
        said = []
        ended = f"journey {run.journey} ends: {run.ended}" if run.ended is not None else ""
        if run.run not in self._begun and not ended:
            self._begun.add(run.run)
            said.append(f"journey {run.journey} begins")
        if run.skipped is not None:
            said.append(f"journey {run.journey}, step {run.skipped}: too late")
        if run.asked is not None and run.decision_id is not None:
            asker = f"journey {run.journey}, step {run.asked}"
            if run.outcome == "selected":
                self._asked[run.decision_id] = asker, f", {ended}" if ended else ""
                return ", ".join(said)
            why = decided.reason if decided is not None and decided.reason else run.outcome
            later = "; it asks again later" if run.holds else ""
            said.append(f"{asker} → nothing ({why}){later}")
        return ", ".join(filter(None, (*said, ended)))


def _done(event: EventRecord) -> str:
    if event.type.startswith(_MOMENT):
        return f"moment {event.type.removeprefix(_MOMENT)}"
    try:
        return _DOES.get(event.type, "").format_map(event.properties)
    except (KeyError, ValueError):
        return event.type
