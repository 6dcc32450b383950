"""A straightforward service, as a good team writes it in a week, for the standard's policy.

    python -m benchmarks._http.peers.service DATA.json MODEL.txt REDIS PORT

FastAPI and pydantic, a redis-py pipeline, LightGBM's `predict`, and loops. It takes the standard's
rules, caps, consents, content, model and exploration from a file (`export.py` writes it), and decides
as nextbest does: a test holds that. It promises less: no transaction, so two requests at a time can
exceed a cap; no deadline, no answer kept for a repeated request, no reservation that ends.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
import time
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from fastapi import FastAPI
from jinja2 import Environment
from pydantic import BaseModel
from redis.asyncio import Redis

DAY = 86_400.0
OPERATORS = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "eq": lambda value, bound: value == bound,
}


class Event(BaseModel):
    """What happened just now."""

    type: str
    properties: dict[str, Any] = {}


class Request(BaseModel):
    """What is asked."""

    customer_id: str
    placement: str
    event: Event | None = None
    context: dict[str, Any] = {}


class Selection(BaseModel):
    """What is given."""

    message: str
    channel: str
    content: dict[str, str]
    response_probability: float
    priority: float
    selection_probability: float
    reserved_until: datetime


class Decision(BaseModel):
    """The answer."""

    decision_id: str
    customer_id: str
    placement: str
    decided_at: datetime
    outcome: str
    selections: list[Selection]


class Customer(BaseModel):
    """A customer as read: `contacts` are (time, message, channel, category), `events` (time, type)."""

    attributes: dict[str, Any]
    consents: dict[str, str]
    contacts: list[tuple[float, str, str, str]]
    events: list[tuple[float, str]]


class Policy:
    """The policy and its model, ready to decide."""

    def __init__(self, data: dict[str, Any], model: str) -> None:
        self.data = data
        self.messages = data["messages"]
        self.booster = lightgbm.Booster(model_str=model)
        environment = Environment(autoescape=False)
        self.contents = {
            message["name"]: {
                key: environment.from_string(text) for key, text in message["content"].items()
            }
            for message in self.messages
        }
        self.codes = {
            name: {value: code for code, value in enumerate(values)}
            for name, values in data["categories"].items()
        }

    def survivors(
        self, customer: Customer, request: Request, now: float
    ) -> tuple[list[tuple[dict[str, Any], str]], dict[str, Any]]:
        """The (message, channel) that nothing rules out, and the values of all fields."""
        values = self.fields(customer, request, now)
        capped = self.capped(customer, now)
        found = []
        for message in self.messages:
            if not all(holds(condition, values) for condition in message["when"]):
                continue
            if message["category"] in capped:
                continue
            for channel in message["channels"]:
                said = customer.consents.get(channel, customer.consents.get("*"))
                if message["consent"] == "opt_in" and said != "granted":
                    continue
                if channel in self.data["placements"][request.placement]:
                    found.append((message, channel))
        return found, values

    def fields(self, customer: Customer, request: Request, now: float) -> dict[str, Any]:
        """Field → value."""
        values = {f"customer.{name}": value for name, value in customer.attributes.items()}
        values |= {f"context.{name}": value for name, value in request.context.items()}
        counts = Counter(kind for at, kind in customer.events if now - 7 * DAY < at <= now)
        for kind in self.data["event_types"]:
            values[f"events.{kind}.count_7d"] = counts[kind]
        values["contacts.count_30d"] = sum(at > now - 30 * DAY for at, *_ in customer.contacts)
        return values

    def capped(self, customer: Customer, now: float) -> set[str]:
        """The categories of which a customer has had enough."""
        found = set()
        for cap in self.data["caps"]:
            since, count = now - cap["days"] * DAY, 0
            for at, _, _, category in customer.contacts:
                if category == cap["category"] and at > since:
                    count += 1
            if count >= cap["at_most"]:
                found.add(cap["category"])
        return found

    def levers(self, values: dict[str, Any]) -> dict[str, float]:
        """Tag → by how much the rules that hold multiply."""
        found: dict[str, float] = {}
        for rule in self.data["rules"]:
            if all(holds(condition, values) for condition in rule["when"]):
                for tag in rule["tags"]:
                    found[tag] = found.get(tag, 1.0) * rule["by"]
        return found

    def probabilities(
        self, candidates: list[tuple[dict[str, Any], str]], values: dict[str, Any]
    ) -> list[float]:
        """How likely each is to be answered: the model's, pulled to the start where it saw little."""
        rows = []
        for message, channel in candidates:
            own = {
                "message.name": self.codes["message.name"].get(message["name"], math.nan),
                "message.channel": self.codes["message.channel"].get(channel, math.nan),
                "message.value": message["value"],
            }
            rows.append(
                [own.get(name, values.get(name, math.nan)) for name in self.data["features"]]
            )
        odds = self.booster.predict(np.array(rows, dtype=float), raw_score=True, num_threads=1)
        calibration = self.data["calibration"]
        if calibration is None:
            found = 1 / (1 + np.exp(-odds))
        elif "slope" in calibration:
            found = 1 / (1 + np.exp(-(calibration["slope"] * odds + calibration["intercept"])))
        else:
            found = np.interp(odds, calibration["knots"], calibration["probabilities"])
        return [
            message["weight"] * float(one) + message["offset"]
            for one, (message, _) in zip(found, candidates, strict=True)
        ]

    def decide(
        self, customer: Customer, request: Request, now: float, draw: float
    ) -> tuple[tuple[dict[str, Any], str] | None, dict[str, Any]]:
        """The one to give, and what is recorded of the decision. `draw` is in [0, 1)."""
        candidates, values = self.survivors(customer, request, now)
        if not candidates:
            return None, {"candidates": []}
        levers = self.levers(values)
        found = self.probabilities(candidates, values)
        priorities = []
        for (message, channel), probability in zip(candidates, found, strict=True):
            lever = math.prod(levers.get(tag, 1.0) for tag in message["tags"])
            priorities.append(probability * message["value"] * lever - self.data["costs"][channel])
        weights = explored(priorities, self.data["exploration"])
        total, place = 0.0, len(weights) - 1
        for number, weight in enumerate(weights):
            total += weight
            if draw < total:
                place = number
                break
        record = {
            "candidates": [
                (message["name"], channel, probability, priority, weight)
                for (message, channel), probability, priority, weight in zip(
                    candidates, found, priorities, weights, strict=True
                )
            ],
            "chosen": place,
            "features": {name: values.get(name) for name in self.data["features"]},
        }
        return candidates[place], record


def holds(condition: list[Any], values: dict[str, Any]) -> bool:
    """Whether a condition [field, operator, bound] holds; a field without a value fails it."""
    field, operator, bound = condition
    value = values.get(field)
    return value is not None and OPERATORS[operator](value, bound)


def explored(priorities: list[float], gamma: float | None) -> list[float]:
    """The probability of each by inverse-gap weighting, gaps as parts of the largest priority."""
    best = max(range(len(priorities)), key=priorities.__getitem__)
    if gamma is None:
        return [float(place == best) for place in range(len(priorities))]
    largest = max(abs(one) for one in priorities) or 1.0
    count = len(priorities)
    weights = [1 / (count + gamma * (priorities[best] - one) / largest) for one in priorities]
    weights[best] = 0.0
    weights[best] = 1.0 - math.fsum(weights)
    return weights


async def read(redis: Redis, customer_id: str, now: float) -> Customer:
    """A customer, by one pipeline."""
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(f"peer:profile:{customer_id}")
        pipeline.zrangebyscore(
            f"peer:contacts:{customer_id}", now - 90 * DAY, "+inf", withscores=True
        )
        pipeline.zrangebyscore(f"peer:events:{customer_id}", now - 7 * DAY, "+inf", withscores=True)
        profile, contacts, events = await pipeline.execute()
    fields = {name.decode(): json.loads(value) for name, value in profile.items()}
    return Customer(
        consents=fields.pop("_consents", {}),
        attributes=fields,
        contacts=[(at, *json.loads(member)[1:]) for member, at in contacts],
        events=[(at, member.decode().partition(":")[0]) for member, at in events],
    )


def app(policy: Policy, redis: Redis) -> FastAPI:
    """The application."""
    served = FastAPI()

    @served.post("/v1/decisions")
    async def decide(request: Request) -> Decision:
        now, number = time.time(), uuid.uuid4().hex
        customer = await read(redis, request.customer_id, now)
        chosen, record = policy.decide(customer, request, now, random.random())
        selections = []
        async with redis.pipeline(transaction=False) as pipeline:
            if chosen is not None:
                message, channel = chosen
                _, _, probability, priority, weight = record["candidates"][record["chosen"]]
                content = {
                    key: template.render(customer=customer.attributes)
                    for key, template in policy.contents[message["name"]].items()
                }
                selections.append(
                    Selection(
                        message=message["name"],
                        channel=channel,
                        content=content,
                        response_probability=probability,
                        priority=priority,
                        selection_probability=weight,
                        reserved_until=datetime.fromtimestamp(now + 1800, UTC),
                    )
                )
                contact = json.dumps([number, message["name"], channel, message["category"]])
                pipeline.zadd(f"peer:contacts:{request.customer_id}", {contact: now})
            told = {"id": number, "at": now, "request": request.model_dump(), **record}
            told["customer"] = customer.model_dump()
            pipeline.xadd("peer:log", {"decision": json.dumps(told)}, maxlen=100_000)
            await pipeline.execute()
        return Decision(
            decision_id=number,
            customer_id=request.customer_id,
            placement=request.placement,
            decided_at=datetime.fromtimestamp(now, UTC),
            outcome="selected" if selections else "none",
            selections=selections,
        )

    return served


def main(data: str, model: str, url: str, port: str) -> None:
    """Serves until it is told to stop."""
    import uvicorn

    policy = Policy(json.loads(Path(data).read_text()), Path(model).read_text())

    async def serve() -> None:
        config = uvicorn.Config(
            app(policy, Redis.from_url(url)), port=int(port), access_log=False, log_level="error"
        )
        await uvicorn.Server(config).serve()

    asyncio.run(serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
