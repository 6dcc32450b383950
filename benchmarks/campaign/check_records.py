"""What was acknowledged is there: decisions, events, changes; and no answer is a 500."""

from __future__ import annotations

from collections import Counter, defaultdict

from benchmarks.campaign.evidence import QUEUED, Evidence, Found


def server_errors(evidence: Evidence) -> Found:
    """No answer is a 500, and nothing else is unexpected."""
    wrong = [
        f"{count} × {status} {route}: {text[:160]}"
        for (route, status, text), count in evidence.seen.errors.most_common()
    ]
    number = evidence.seen.errors.total()
    return Found(sum(evidence.seen.statuses.values()), wrong, Counter(), number)


def look_ups(evidence: Evidence) -> Found:
    """A decision that was answered with the store is found, unless its customer was erased."""
    wrong, excused = [], Counter[str]()
    for decision_id, answered, status in evidence.seen.look_ups:
        if status in (200, 503):
            continue
        customer = evidence.seen.answers[decision_id].customer
        if status == 404 and any(sent < answered for sent, _ in evidence.erased[customer]):
            excused["the customer was erased"] += 1
        else:
            where = evidence.during(answered)
            wrong.append(f"{decision_id}, answered before, looked up: {status} ({where})")
    return Found(len(evidence.seen.look_ups), wrong, excused)


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

    What a server still keeps for later is lost with it when it is killed; that is excused. So are
    as many of a server as it counts as dropped: it keeps no more than fits into its memory.
    """
    wrong, excused = [], Counter[str]()
    dropped = list(evidence.dropped)
    answers = [each for each in evidence.seen.answers.values() if each.without_store]
    for answer in answers:
        if answer.decision_id in evidence.stored.records:
            continue
        if evidence.erased_since(answer):
            excused["the customer was erased"] += 1
        elif evidence.killed_soon_after(answer):
            excused["its server was killed soon after"] += 1
        elif dropped[answer.server] > 0:
            dropped[answer.server] -= 1
            excused["its server counts one dropped"] += 1
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


def erasures(evidence: Evidence) -> Found:
    """Of a customer who was erased, nothing of before is left in log and archive."""
    seen, stored, wrong = evidence.seen, evidence.stored, []
    erased = {change.what: change.sent for change in seen.changes["erase"] if change.status == 204}
    for answer in seen.answers.values():
        before = answer.answered < erased.get(answer.customer, 0)
        if before and answer.decision_id in stored.records:
            wrong.append(f"{answer.decision_id} of {answer.customer}, who was erased, is there")
    for event_id, event in seen.events.items():
        before = event.last_sent + QUEUED < erased.get(event.body["customer_id"], 0)
        if before and stored.events[event_id]:
            wrong.append(f"{event_id} of {event.body['customer_id']}, who was erased, is there")
    return Found(len(erased), wrong, Counter())
