"""What is reserved was given to somebody, once, and holds its budgets."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final
from zlib import crc32

from benchmarks.campaign.evidence import Evidence, Found
from benchmarks.campaign.policy import BUDGETS, SECOND

QUEUED: Final = 30
"""Seconds in which a server may still work on a request whose client has given up."""


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


def _time_of(decision_id: str) -> float:
    """The Unix time that a decision id carries."""
    number = 0
    for letter in decision_id[:10]:
        number = number << 5 | "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter)
    return number / 1000
