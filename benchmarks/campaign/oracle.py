"""What must hold, looked at from outside: what clients were answered against what is stored.

Each check takes `Seen` and `Stored`, and says what it found in words, with how many it looked at
and how many it excused (and why). Nothing here knows how the servers work.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from benchmarks.campaign.policy import BUDGETS, CAPS, DAY, RELEASING, SECOND, Cap
from benchmarks.campaign.seen import Answer, Seen
from benchmarks.campaign.stored import Contact, Stored

LATER: Final = 60
"""Seconds in which a server logs what it decided without the store, once that is back."""


QUEUED: Final = 30
"""Seconds in which a server may still work on a request whose client has given up."""


class Phase(NamedTuple):
    """A fault: from its beginning until it was undone, and the seconds until all was well again."""

    name: str
    began: float
    ended: float
    recovered: float | None


class Found(NamedTuple):
    """The result of a check: `wrong` must be empty; `excused` is reason → how many.

    `number` is how many there are where one text stands for several.
    """

    looked_at: int
    wrong: list[str]
    excused: Counter[str]
    number: int | None = None

    @property
    def count(self) -> int:
        """How many things are wrong."""
        return len(self.wrong) if self.number is None else self.number


class Given(NamedTuple):
    """A message that a client was answered with. `off` is when it may have stopped to count."""

    customer: str
    message: str
    channel: str
    at: int
    answered: float
    off: float


class Evidence:
    """What the checks share: who is who after merges, when contacts may have been released."""

    def __init__(
        self,
        seen: Seen,
        stored: Stored,
        now: float,
        kills: Sequence[Sequence[float]] = ((), ()),
        phases: Sequence[Phase] = (),
    ) -> None:
        self.seen = seen
        self.stored = stored
        self.now = now
        self.kills = kills
        self.phases = phases
        self.erased: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for change in seen.changes["erase"]:
            ended = change.answered if change.status in (204, 404) else float("inf")
            self.erased[change.what].append((change.sent, ended))
        self.merged_into: dict[str, str] = {}
        self.merged_at: dict[str, float] = {}
        for change in seen.changes["merge"]:
            target, other = change.what
            self.merged_into[other] = target
            if change.status == 200:
                first = self.merged_at.get(target, float("inf"))
                self.merged_at[target] = min(first, change.answered)
        self.released = self._releases()

    def person(self, customer: str) -> str:
        """The id that stands for the customer after all merges."""
        return self.merged_into.get(customer, customer)

    def _releases(self) -> dict[tuple[str, str], float]:
        """(decision id, message) → when an event was first sent that may release the contact."""
        found: dict[tuple[str, str], float] = {}
        for event in self.seen.events.values():
            body = event.body
            if body["type"] in ("message.failed", "message.not_shown"):
                key = (body["decision_id"], body["message"])
                found[key] = min(event.sent, found.get(key, event.sent))
        return found

    def sender(self, event_id: str) -> str:
        """Whose event it is."""
        event = self.seen.events.get(event_id)
        return event.body["customer_id"] if event else self.seen.sent_with.get(event_id, "")

    def during(self, at: float) -> str:
        """The fault of a time."""
        names = [
            each.name
            for each in self.phases
            if each.began - 1 <= at <= each.ended + (each.recovered or 30) + 1
        ]
        return f"during {names[-1]}" if names else "in a calm time"

    def erased_since(self, answer: Answer) -> bool:
        """Whether an erasure may have removed what a decision logged."""
        return any(answer.sent <= ended for _, ended in self.erased.get(answer.customer, ()))

    def off(self, answer: Answer, message: str) -> float:
        """From when on a contact may count no more: an event was sent, or an erasure."""
        off = self.released.get((answer.decision_id, message), float("inf"))
        for sent, ended in self.erased.get(answer.customer, ()):
            if answer.sent < ended:
                off = min(off, sent)
        return off


def caps_of_answers(evidence: Evidence) -> Found:
    """Nobody was given more than a cap allows, by the answers alone.

    A contact counts until an event that may release it was first sent, and on a channel whose
    reservations end, for as long as the reservation at most. After a merge both ids are one.
    """
    by_person: defaultdict[str, list[Given]] = defaultdict(list)
    for answer in evidence.seen.answers.values():
        for message, channel in answer.picks:
            off = evidence.off(answer, message)
            if channel in RELEASING:
                off = min(off, answer.at / SECOND + 19)
            given = Given(answer.customer, message, channel, answer.at, answer.answered, off)
            by_person[evidence.person(answer.customer)].append(given)
    wrong = []
    for person, all_given in by_person.items():
        all_given.sort(key=lambda each: each.at)
        merged = evidence.merged_at.get(person, float("inf"))
        for name, cap in CAPS.items():
            wrong += _over(name, cap, all_given, merged)
    return Found(sum(map(len, by_person.values())), wrong, Counter())


def _over(name: str, cap: Cap, all_given: list[Given], merged: float) -> list[str]:
    wrong = []
    matching = [each for each in all_given if cap.channel in (None, each.channel)]
    times = [each.at for each in matching]
    for index, last in enumerate(matching):
        since = last.at // DAY * DAY if cap.within is None else last.at - cap.within + 1
        window = [
            each
            for each in matching[bisect_left(times, since) : index + 1]
            if (not cap.per_message or each.message == last.message)
            and (each.customer == last.customer or last.at / SECOND > merged)
        ]
        if len(window) <= cap.at_most:
            continue
        latest = max(each.answered for each in window)
        counting = [each for each in window if each.off > latest]
        if len(counting) > cap.at_most:
            wrong.append(
                f"{name}: {len(counting)} of {cap.at_most} to {last.customer} at {last.at}"
            )
    return wrong


def caps_stored(evidence: Evidence) -> Found:
    """Nobody has more contacts than a cap allows, by what is stored.

    Those who were merged had caps of their own before, and are left out.
    """
    by_person: defaultdict[str, list[Contact]] = defaultdict(list)
    for contact in evidence.stored.contacts:
        if contact.state != 3 and contact.channel not in RELEASING:
            by_person[contact.customer].append(contact)
    wrong = []
    for person, contacts in by_person.items():
        if person in evidence.merged_into.values():
            continue
        given = [
            Given(person, each.message, each.channel, each.at, 0, 1)
            for each in sorted(contacts, key=lambda each: each.at)
        ]
        for name, cap in CAPS.items():
            wrong += _over(name, cap, given, float("inf"))
    return Found(sum(map(len, by_person.values())), wrong, Counter())


def budgets(evidence: Evidence) -> Found:
    """A counter is what contacts hold, and never over its limit.

    A server that was killed may leave a unit taken, and one that is merely reserved on a channel
    that releases comes back by itself: both are counted apart.
    """
    stored, wrong = evidence.stored, []
    excused: Counter[str] = Counter()
    held = Counter(name for (_, name), rank in stored.units.items() if rank % 2)
    for name, count in stored.counters.items():
        base = name if name in BUDGETS else name.partition(":")[0]
        if count != held[name]:
            wrong.append(f"{name} is {count}, and {held[name]} units are held")
        if count > BUDGETS[base]:
            wrong.append(f"{name} is {count}, and may be {BUDGETS[base]}")
    contacts = {(each.tag, each.message): each for each in stored.contacts if each.message in "def"}
    holding = {key for key, each in contacts.items() if each.held(int(evidence.now * SECOND))}
    erased = {
        crc32(a.decision_id.encode())
        for a in evidence.seen.answers.values()
        if a.customer in evidence.erased
    }
    with_unit = set()
    kills = [at for each in evidence.kills for at in each]
    for (token, name), rank in stored.units.items():
        key = (crc32(token.encode()), name.partition(":")[0])
        if rank % 2 == 0:
            continue
        with_unit.add(key)
        if key in holding:
            continue
        at = _time_of(token)
        if f"{token}:{name}" in stored.ends:
            excused["reserved; comes back by itself"] += 1
        elif key[0] in erased:
            excused["of an erased customer"] += 1
        elif any(at - 2 < kill < at + 30 for kill in kills):
            excused["taken by a server that was killed"] += 1
        else:
            contact = contacts.get(key)
            why = "no contact" if contact is None else f"a contact that is {contact.state.name}"
            logged = "logged" if token in stored.records else "not logged"
            answered = "answered" if token in evidence.seen.answers else "not answered"
            where = f"{evidence.during(at)}, {logged}, {answered}"
            wrong.append(f"{name}: the unit of {token} has {why} ({where})")
    wrong += [
        f"{message}: a contact with tag {tag} holds no unit" for tag, message in holding - with_unit
    ]
    return Found(sum(held.values()), wrong, excused)


def records(evidence: Evidence) -> Found:
    """Every decision that was made with the store is in the log once, as it was answered."""
    stored, wrong = (
        evidence.stored,
        [f"{each} is twice in the log" for each in evidence.stored.twice],
    )
    excused: Counter[str] = Counter()
    answers = [each for each in evidence.seen.answers.values() if not each.without_store]
    for answer in answers:
        record = stored.records.get(answer.decision_id)
        if record is None:
            if evidence.erased_since(answer):
                excused["the customer was erased"] += 1
            else:
                where = evidence.during(answer.sent)
                wrong.append(f"{answer.decision_id} is not in the log ({where})")
        elif (record.outcome, record.picks) != (answer.outcome, answer.picks):
            wrong.append(f"{answer.decision_id} was answered {answer.picks}, logged {record.picks}")
    return Found(len(answers), wrong, excused)


def records_without_store(evidence: Evidence) -> Found:
    """Every decision that was answered without the store is in the log, later.

    What a server still keeps for later is lost with it when it is killed; that is excused.
    """
    wrong, excused = [], Counter[str]()
    answers = [each for each in evidence.seen.answers.values() if each.without_store]
    for answer in answers:
        if answer.decision_id in evidence.stored.records:
            continue
        kills = evidence.kills[answer.server]
        if evidence.erased_since(answer):
            excused["the customer was erased"] += 1
        elif any(answer.sent - 1 < kill < answer.answered + LATER for kill in kills):
            excused["its server was killed soon after"] += 1
        else:
            where = evidence.during(answer.sent)
            wrong.append(f"{answer.decision_id}, {answer.outcome}, is not in the log ({where})")
    return Found(len(answers), wrong, excused)


def events(evidence: Evidence) -> Found:
    """Every accepted event is in the log once; no event is there twice."""
    logged, wrong = evidence.stored.events, []
    excused: Counter[str] = Counter()
    accepted = 0
    for event_id, event in evidence.seen.events.items():
        accepted += event.accepted
        if event.accepted and not logged[event_id]:
            if event.body["customer_id"] in evidence.erased:
                excused["the customer was erased"] += 1
            else:
                wrong.append(f"{event_id} was accepted and is not in the log")
    for answer in evidence.seen.answers.values():
        if answer.event_id is not None and not answer.without_store:
            accepted += 1
            if not logged[answer.event_id] and answer.customer not in evidence.erased:
                wrong.append(f"{answer.event_id}, sent with a decision, is not in the log")
    for event_id, count in logged.items():
        if count > 1:
            sender = evidence.sender(event_id)
            if sender in evidence.erased or evidence.person(sender) in evidence.erased:
                excused["sent again after an erasure, which forgot its id"] += 1
            else:
                wrong.append(f"{event_id} of {sender} is {count} times in the log")
    return Found(accepted, wrong, excused)


def changes(evidence: Evidence) -> Found:
    """A change that was acknowledged is there, unless a later one, or an erasure, replaced it."""
    stored, wrong = evidence.stored, []
    history: defaultdict[str, list[tuple[float, int, int]]] = defaultdict(list)
    for change in evidence.seen.changes["put"]:
        customer, value = change.what
        history[customer].append((change.sent, value, change.status))
    for customer, values in history.items():
        if customer in evidence.erased or evidence.person(customer) in evidence.erased:
            continue
        values.sort()
        allowed: set[int | None] = {None}
        for _, value, status in values:
            allowed = {value} if status == 200 else allowed | {value}
        found = stored.customers.get(evidence.person(customer))
        own = stored.customers.get(customer)
        name = customer[0]
        got = {each.attributes.get(name) for each in (found, own) if each is not None} - {None}
        if (got or {None}).isdisjoint(allowed):
            wrong.append(f"{customer} has {got or 'nothing'}, acknowledged was one of {allowed}")
    denied = 0
    asked_at: defaultdict[str, float] = defaultdict(lambda: float("inf"))
    for change in evidence.seen.changes["consent"]:
        if change.status == 200:
            denied += 1
            asked_at[change.what] = min(asked_at[change.what], change.answered)
    for answer in evidence.seen.answers.values():
        late = answer.sent > asked_at[answer.customer]
        wrong += [
            f"{answer.decision_id} gave {pick} after an opt-out" for pick in answer.picks if late
        ]
    return Found(len(history) + denied, wrong, Counter())


def contacts_given(evidence: Evidence) -> Found:
    """Every contact that counts was given to somebody in an answer.

    Excused is, once per request, a contact whose request has no answer at all: a server or a client
    was killed, or the connection was cut.
    """
    seen, stored, wrong = evidence.seen, evidence.stored, []
    excused: Counter[str] = Counter()
    by_tag: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for record in stored.records.values():
        if record.selections:
            tag = crc32(record.decision_id.encode())
            by_tag[evidence.person(record.customer_id), tag].append(record.decision_id)
    unanswered: defaultdict[str, list[list[float]]] = defaultdict(list)
    for lost in seen.lost:
        if not lost.why.startswith("not connected"):
            unanswered[evidence.person(lost.customer)].append([lost.sent, lost.ended])
    silent: defaultdict[str, list[list[float]]] = defaultdict(list)
    for answer in seen.answers.values():
        if answer.without_store:
            silent[evidence.person(answer.customer)].append([answer.sent, answer.answered])
    taken: dict[str, bool] = {}
    without: dict[str, bool] = {}
    looked_at = 0
    for contact in stored.contacts:
        if contact.state == 3 or contact.customer.startswith("probe-"):
            continue
        looked_at += 1
        ids = by_tag[evidence.person(contact.customer), contact.tag]
        if not ids:
            wrong.append(f"a contact of {contact.customer} at {contact.at} has no record")
            continue
        if any(
            (contact.message, contact.channel) in seen.answers[each].picks
            for each in ids
            if each in seen.answers
        ):
            continue
        decision_id = ids[0]
        if decision_id not in taken:
            taken[decision_id] = _take(
                unanswered[evidence.person(contact.customer)], contact.at / SECOND
            )
        if taken[decision_id]:
            excused["its request has no answer (killed or cut)"] += 1
        elif contact.state == 1 and not contact.held(int(evidence.now * SECOND)):
            excused["its reservation has ended"] += 1
        else:
            if decision_id not in without:
                windows = silent[evidence.person(contact.customer)]
                without[decision_id] = _take(windows, contact.at / SECOND)
            how = "answered as without a store" if without[decision_id] else "in no answer"
            where = evidence.during(contact.at / SECOND)
            wrong.append(f"{contact.message}/{contact.channel} of {decision_id}: {how} ({where})")
    return Found(looked_at, wrong, excused)


def _take(windows: list[list[float]], at: float) -> bool:
    """Uses up one request that was, or may still have been, under way at a time."""
    for index, (sent, ended) in enumerate(windows):
        if sent - 0.1 <= at <= ended + QUEUED:
            windows.pop(index)
            return True
    return False


def request_ids(evidence: Evidence) -> Found:
    """One request id gives one decision, and reserves once."""
    wrong = []
    for (customer, request_id), answers in evidence.seen.by_request.items():
        made = {(each.decision_id, each.picks) for each in answers if not each.without_store}
        erased = customer in evidence.erased
        if len(made) > 1 and not erased:
            wrong.append(f"{request_id} of {customer} gave {sorted(made)}")
    holding: defaultdict[tuple[str, int], bool] = defaultdict(bool)
    for contact in evidence.stored.contacts:
        holding[evidence.person(contact.customer), contact.tag] |= contact.state != 3
    chosen: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for record in evidence.stored.records.values():
        person = evidence.person(record.customer_id)
        tag = crc32(record.decision_id.encode())
        if record.request_id and record.selections and holding[person, tag]:
            chosen[person, record.request_id].add(record.decision_id)
    wrong += [
        f"{key[1]} of {key[0]} reserved in {ids}" for key, ids in chosen.items() if len(ids) > 1
    ]
    for before, after in evidence.seen.repeated:
        wrong.append(f"{before.decision_id} answers {before.request_id} and {after.request_id}")
    return Found(len(evidence.seen.by_request), wrong, Counter())


def server_errors(evidence: Evidence) -> Found:
    """No answer is a 500, and nothing else is unexpected."""
    wrong = [
        f"{count} × {status} {route}: {text[:160]}"
        for (route, status, text), count in evidence.seen.errors.most_common()
    ]
    number = evidence.seen.errors.total()
    return Found(sum(evidence.seen.statuses.values()), wrong, Counter(), number)


def _time_of(decision_id: str) -> float:
    """The Unix time that a decision id carries."""
    number = 0
    for letter in decision_id[:10]:
        number = number << 5 | "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter)
    return number / 1000


CHECKS: Final[dict[str, Callable[[Evidence], Found]]] = {
    "no 500": server_errors,
    "caps of answers": caps_of_answers,
    "caps stored": caps_stored,
    "decisions in the log": records,
    "… made without the store": records_without_store,
    "events in the log": events,
    "customers' changes": changes,
    "contacts were given": contacts_given,
    "budgets": budgets,
    "request ids": request_ids,
}


def judge(evidence: Evidence, which: Iterable[str] = CHECKS) -> dict[str, Found]:
    """All checks."""
    return {name: CHECKS[name](evidence) for name in which}
