"""The standard's policy, model and customers, as the straightforward service keeps them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from benchmarks._http.cases import Site
from benchmarks._standard import EVENT_TYPES
from decision.core.clock import SECOND
from decision.core.definition import Settings
from decision.core.document import Document
from decision.scoring.loading import check_version
from decision.scoring.manifest import TREES, Manifest, evidence_of
from decision.scoring.versions import current_version
from decision.store import RedisStore

DATA: Final = "service.json"


def write(site: Site) -> tuple[Path, Path]:
    """Writes policy and model; returns where they are."""
    version = current_version(site.folder / "models")
    assert version is not None
    manifest = check_version(version)[0]
    text = (site.folder / "rules" / "rules.yaml").read_text("utf-8")
    path = site.folder / DATA
    path.write_text(json.dumps(policy_of(YAML(typ="safe", pure=True).load(text), manifest)))
    return path, version / TREES


def policy_of(rules: dict[str, Any], manifest: Manifest) -> dict[str, Any]:
    """What the service reads: the rule file's, and of the model what is not in its trees."""
    calibration = manifest.calibration or manifest.isotonic
    assert manifest.start is None, "the service knows no linear start"
    return {
        "messages": [
            {
                "name": name,
                "category": message["category"],
                "tags": message["tags"],
                "channels": message["channels"],
                "value": message["value"],
                "content": message["content"],
                "consent": rules["purposes"][message["purpose"]]["consent"],
                "when": list(_conditions(message["when"])),
                **_smoothed(name, manifest),
            }
            for name, message in rules["messages"].items()
        ],
        "placements": {name: one["channels"] for name, one in rules["placements"].items()},
        "costs": {name: channel.get("cost", 0.0) for name, channel in rules["channels"].items()},
        "caps": [
            {
                "category": cap["of"]["category"],
                "at_most": cap["at_most"],
                "days": int(cap["within"].removesuffix("d")),
            }
            for cap in rules["caps"].values()
        ],
        "rules": [
            {
                "when": list(_conditions(rule["when"])),
                "tags": rule["boost"]["tags"],
                "by": rule["by"],
            }
            for rule in rules["rules"].values()
        ],
        "event_types": [f"e{number}" for number in range(EVENT_TYPES)],
        "exploration": Settings().exploration,
        "features": [feature.name for feature in manifest.features],
        "categories": manifest.categories,
        "calibration": None
        if calibration is None
        else {name: getattr(calibration, name) for name in calibration.__struct_fields__},
    }


def _conditions(when: dict[str, Any]) -> Iterable[list[Any]]:
    for field, wanted in when.items():
        compared = wanted if isinstance(wanted, dict) else {"eq": wanted}
        yield from ([field, operator, bound] for operator, bound in compared.items())


def _smoothed(message: str, manifest: Manifest) -> dict[str, float]:
    """How far the model is believed of a message, and what is added."""
    settings, smoothing = Settings(), manifest.smoothing
    start = smoothing.starting_probability
    start = settings.starting_probability if start is None else start
    weight = smoothing.starting_evidence
    weight = settings.starting_evidence if weight is None else weight
    shows = evidence_of(manifest).get((message, ""), (0, 0))[0]
    believed = shows / (weight + shows) if weight + shows else 0.0
    return {"weight": believed, "offset": (1 - believed) * start}


def customer_of(document: Document) -> dict[str, Any]:
    """What the service keeps of a customer: times are seconds."""
    kinds = document.kinds
    return {
        "attributes": document.attributes,
        "consents": {
            channel: "granted" if consent.granted else "denied"
            for channel, consent in document.consents.get("marketing", {}).items()
        },
        "contacts": [
            (contact.at / SECOND, kind.message, kind.channel, kind.category)
            for contact in document.contacts
            for kind in (kinds[contact.kind],)
        ],
        "events": [
            (bucket[0], name)
            for name, history in document.events.items()
            for bucket in history.buckets
            for _ in range(int(bucket[1]))
        ],
    }


def load(site: Site) -> None:
    """Writes all customers of a site as the service reads them."""

    async def copy() -> None:
        store = RedisStore(site.url, prefix=site.prefix)
        await store.start()
        async with Redis.from_url(site.url) as redis:
            for name in site.customers:
                await _put(redis, name, customer_of((await store.read(name)).document))
        await store.close()

    from redis.asyncio import Redis

    asyncio.run(copy())


async def _put(redis: Any, name: str, customer: dict[str, Any]) -> None:
    profile = {**customer["attributes"], "_consents": customer["consents"]}
    contacts = {
        json.dumps([number, *what]): at for number, (at, *what) in enumerate(customer["contacts"])
    }
    events = {f"{kind}:{number}": at for number, (at, kind) in enumerate(customer["events"])}
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.hset(
            f"peer:profile:{name}",
            mapping={key: json.dumps(value) for key, value in profile.items()},
        )
        for key, members in (("contacts", contacts), ("events", events)):
            if members:
                pipeline.zadd(f"peer:{key}:{name}", members)
        await pipeline.execute()
