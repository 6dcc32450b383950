"""What is reserved was given to somebody, once, and holds its budgets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from zlib import crc32

from benchmarks.campaign.evidence import QUEUED, Evidence, Found
from benchmarks.campaign.policy import BUDGETS, RELEASES_AFTER, SECOND
from decision.core.document import ContactState
from decision.core.identifiers import parse_decision_id, partition_of

Key = str | int
"""What requests and decisions are matched by: a customer, or a partition."""


class Unanswered:
    """Requests that may have reserved something of which nobody was told; each excuses one decision.

    Those without any answer (a server or a client was killed, a connection was cut), and those
    answered without the store by a server that was killed before it could take back what it had
    reserved.
    """

    def __init__(self, evidence: Evidence, key: Callable[[str], Key]) -> None:
        self._windows: defaultdict[Key, list[tuple[float, float]]] = defaultdict(list)
        self._excuses: dict[str, bool] = {}
        for lost in evidence.seen.lost:
            if not lost.why.startswith("not connected"):
                self._windows[key(lost.customer)].append((lost.sent, lost.ended + QUEUED))
        for answer in evidence.seen.answers.values():
            if answer.without_store and evidence.killed_soon_after(answer):
                self._windows[key(answer.customer)].append((answer.sent, answer.answered))

    def excuses(self, decision_id: str, key: Key, at: float) -> bool:
        """Whether a decision of a time may be one of them; that one is used up."""
        if decision_id not in self._excuses:
            windows = self._windows[key]
            place = next(
                (n for n, (sent, ended) in enumerate(windows) if sent - 0.1 <= at <= ended), None
            )
            self._excuses[decision_id] = place is not None
            if place is not None:
                windows.pop(place)
        return self._excuses[decision_id]


def contacts_given(evidence: Evidence) -> Found:
    """Every contact that counts was given to somebody in an answer, but for `Unanswered`."""
    seen, stored, wrong = evidence.seen, evidence.stored, []
    excused: Counter[str] = Counter()
    by_tag: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for record in stored.records.values():
        if record.selections:
            tag = crc32(record.decision_id.encode())
            by_tag[evidence.person(record.customer_id), tag].append(record.decision_id)
    # An erasure that failed halfway removes records, and leaves the contacts until it is repeated.
    for answer in seen.answers.values():
        if answer.picks:
            tag = crc32(answer.decision_id.encode())
            by_tag[evidence.person(answer.customer), tag].append(answer.decision_id)
    unanswered = Unanswered(evidence, evidence.person)
    looked_at = 0
    for contact in stored.contacts:
        if contact.state == ContactState.RELEASED or contact.customer.startswith("probe-"):
            continue
        looked_at += 1
        person, at = evidence.person(contact.customer), contact.at / SECOND
        ids = by_tag[person, contact.tag]
        answers = [seen.answers[each] for each in ids if each in seen.answers]
        if any((contact.message, contact.channel) in each.picks for each in answers):
            continue
        if unanswered.excuses(f"{contact.tag}", person, at):
            excused["nobody was answered: killed or cut"] += 1
            continue
        what = f"{contact.message}/{contact.channel} of {contact.customer}, {ids or 'no record'}"
        wrong.append(f"{what}: in no answer ({evidence.during(at)})")
    return Found(looked_at, wrong, excused)


def budgets(evidence: Evidence) -> Found:
    """A counter is what contacts hold, and never over its limit.

    Excused are `Unanswered`, erased customers, units of ended reservations, which come back as soon
    as somebody needs one, and those that were confirmed after they had come back.
    """
    stored, wrong = evidence.stored, []
    excused: Counter[str] = Counter()
    held = Counter(name for (_, name), rank in stored.units.items() if rank % 2)
    late = _confirmed_late(evidence)
    for name, count in stored.counters.items():
        base = name if name in BUDGETS else name.partition(":")[0]
        if count != held[name]:
            wrong.append(f"{name} is {count}, and {held[name]} units are held")
        over = count - BUDGETS[base]
        if 0 < over <= late[base.partition(":")[0]]:
            excused["over a limit by confirmations after the reservation had ended"] += over
        elif over > 0:
            wrong.append(f"{name} is {count}, and may be {BUDGETS[base]}")
    contacts = {(each.tag, each.message): each for each in stored.contacts if each.message in "def"}
    holding = {key for key, each in contacts.items() if each.held(int(evidence.now * SECOND))}
    erased = {
        crc32(a.decision_id.encode())
        for a in evidence.seen.answers.values()
        if a.customer in evidence.erased
    }
    with_unit = set()
    unanswered = Unanswered(evidence, partition_of)
    for (token, name), rank in stored.units.items():
        key = (crc32(token.encode()), name.partition(":")[0])
        if rank % 2 == 0:
            continue
        with_unit.add(key)
        if key in holding:
            continue
        millis, partition, _ = parse_decision_id(token)
        at = millis / 1000
        if f"{token}:{name}" in stored.ends:
            excused["reserved; comes back by itself"] += 1
        elif key[0] in erased:
            excused["of an erased customer"] += 1
        elif unanswered.excuses(token, partition, at):
            excused["nobody was answered: killed or cut"] += 1
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


def _confirmed_late(evidence: Evidence) -> Counter[str]:
    """Message → how many contacts were confirmed when their reservation may have ended."""
    late: Counter[str] = Counter()
    for event in evidence.seen.events.values():
        if event.body["type"] in ("message.sent", "message.delivered"):
            answer = evidence.seen.answers.get(event.body["decision_id"])
            if answer is None or event.last_sent > answer.at / SECOND + RELEASES_AFTER - 1:
                late[event.body["message"]] += 1
    return late


def request_ids(evidence: Evidence) -> Found:
    """One request id gives one decision, and reserves once, but for `Unanswered`."""
    wrong, excused = [], Counter[str]()
    for (customer, request_id), answers in evidence.seen.by_request.items():
        made = {(each.decision_id, each.picks) for each in answers if not each.without_store}
        erased = customer in evidence.erased
        if len(made) > 1 and not erased:
            wrong.append(f"{request_id} of {customer} gave {sorted(made)}")
    holding: defaultdict[tuple[str, int], bool] = defaultdict(bool)
    for contact in evidence.stored.contacts:
        holding[evidence.person(contact.customer), contact.tag] |= (
            contact.state != ContactState.RELEASED
        )
    unanswered = Unanswered(evidence, evidence.person)
    chosen: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for record in evidence.stored.records.values():
        person = evidence.person(record.customer_id)
        tag = crc32(record.decision_id.encode())
        if record.request_id and record.selections and holding[person, tag]:
            at = record.decided_at / SECOND
            if record.decision_id in evidence.seen.answers:
                chosen[person, record.request_id].add(record.decision_id)
            elif unanswered.excuses(record.decision_id, person, at):
                excused["nobody was answered: killed or cut"] += 1
            else:
                chosen[person, record.request_id].add(record.decision_id)
    wrong += [
        f"{key[1]} of {key[0]} reserved in {ids}" for key, ids in chosen.items() if len(ids) > 1
    ]
    for before, after in evidence.seen.repeated:
        wrong.append(f"{before.decision_id} answers {before.request_id} and {after.request_id}")
    return Found(len(evidence.seen.by_request), wrong, excused)
