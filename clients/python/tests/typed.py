"""What the types allow and refuse. mypy reads this file; nothing runs it."""

from __future__ import annotations

from datetime import UTC, datetime

from nextbest_client import AsyncClient, BadLine, Client
from nextbest_client.types import Decision, DecisionRequest, Event


def allowed(nextbest: Client) -> None:
    """What users write."""
    decision = nextbest.decide(
        {
            "placement": "app_home",
            "alias": {"type": "email", "value": "a@b.example"},
            "event": {"type": "cart_add", "at": datetime.now(UTC), "properties": {"value": 3}},
            "context": {"device": "ios", "tags": ["a"]},
            "limit": 2,
        },
        timeout=1.5,
    )
    message: str = decision["selections"][0]["message"]
    reason: str | None = decision["reason"]
    if decision["outcome"] == "selected":
        print(message, reason, decision["degraded"])
    events: list[Event] = [{"type": "purchase", "customer_id": "c-1", "value": 80}]
    print(nextbest.record_events({"events": events})["accepted"])
    nextbest.update_customer("c-1", {"attributes": {"old": None}, "timezone": None})
    nextbest.set_consents("c-1", {"marketing": {"*": "granted", "sms": None}})
    nextbest.set_consents("c-1", {"marketing": {"*": {"state": "denied", "at": "2026-01-01"}}})
    nextbest.merge_customers("c-1", {"from": "anon-9"})
    requests: list[DecisionRequest] = [{"placement": "p", "customer_id": "c-1"}]
    for answer in nextbest.decide_batch(requests, portion=10):
        found: Decision | BadLine = answer
        if "error" in answer:
            print(answer["error"]["line"], found)
        else:
            print(answer["decision_id"])
    nextbest.decide_batch(open("requests.ndjson", "rb"))  # noqa: SIM115, PTH123


def refused(nextbest: Client) -> None:
    """What they get wrong."""
    nextbest.decide({"customer_id": "c-1"})  # type: ignore[typeddict-item]
    nextbest.decide({"placement": "p", "custommer": "c-1"})  # type: ignore[typeddict-unknown-key]
    nextbest.decide({"placement": "p", "limit": "2"})  # type: ignore[typeddict-item]
    nextbest.set_consents("c-1", {"marketing": {"*": "yes"}})  # type: ignore[dict-item]
    print(nextbest.decide({"placement": "p"})["outcom"])  # type: ignore[typeddict-item]
    nextbest.find_decision(7)  # type: ignore[arg-type]


async def the_same_for_asyncio(nextbest: AsyncClient) -> str:
    """Every call is awaited, and a batch is gone through."""
    requests: list[DecisionRequest] = [{"placement": "p", "customer_id": "c-1"}]
    found = [one async for one in nextbest.decide_batch(requests)]
    return (await nextbest.get_policy())["policy_version"] + str(found)
