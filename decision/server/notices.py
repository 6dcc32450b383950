"""What an operator should look at: one list of all that some part of the server knows to be wrong.

Nothing is found out here but when a budget will be spent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal

import msgspec

from decision.analytics.sample_ratio import SampleRatio
from decision.core.clock import from_micros
from decision.core.errors import StoreUnavailable
from decision.core.said import Counted, Joined, Said
from decision.engine.budget_views import BudgetView, budget_views
from decision.engine.cautions import cautions_by_subject
from decision.engine.left_alone import left_alone
from decision.engine.runtime import Runtime
from decision.engine.snapshot import Snapshot
from decision.evaluation.serving_drift import ServingDrift
from decision.server.looks import Looks, last_looks
from decision.server.servers import Difference, differences, servers_seen
from decision.server.upkeep import Upkeep

Severity = Literal["error", "warning", "note"]
Subject = Literal[
    "store",
    "rules",
    "models",
    "keys",
    "policy",
    "budgets",
    "deliveries",
    "journeys",
    "experiments",
    "servers",
    "other",
]

_SOON: Final = 0.05
"""The part of a period that must be over before what is left of a budget is projected."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to look at, in a sentence that names the fix where there is one.

    `error`: something does not work; `warning`: it will not, or works less well; `note`: good to
    know. `subject` is what it is about, and `about` which one, such as the version of a model.
    """

    severity: Severity
    subject: Subject
    text: str
    about: str = ""


async def notices(upkeep: Upkeep) -> list[Notice]:
    """Everything that is to be looked at now, the worst first; empty where all is well."""
    supply, health = upkeep.supply, upkeep.health
    found = [
        Notice(severity="error" if what == "store" else "warning", subject="store", text=text)
        for what, text in health.degraded.items()
    ]
    found += [Notice(severity="note", subject="store", text=one) for one in health.notices.values()]
    if (problem := supply.models.current.problem) is not None:
        found.append(Notice(severity="warning", subject="models", text=problem))
    if (problem := upkeep.keys.problem) is not None:
        found.append(Notice(severity="warning", subject="keys", text=problem))
    if not supply.ready:
        text = supply.waits_for or Said("policy and model are being loaded")
        found.append(Notice(severity="error", subject="rules", text=text))
        return _worst_first(found)
    if (refusal := supply.shared.refusal()) is not None:
        text = Said(
            "newer rules are refused since %(time)s: %(detail)s",
            time=f"{refusal.since:%Y-%m-%d %H:%M %Z}",
            detail=refusal.detail,
        )
        found.append(Notice(severity="error", subject="rules", text=text))
    runtime = supply.engine.runtime
    for subject, text in await cautions_by_subject(runtime):
        found.append(Notice(severity="warning", subject=subject, text=text))
    for text in supply.delivery_cautions:
        found.append(Notice(severity="warning", subject="deliveries", text=text))
    try:
        held = (await runtime.store.count_deliveries()).held
    except StoreUnavailable:
        held = 0
    with suppress(StoreUnavailable):
        found += await stopped(runtime)
    if held:
        text = Counted(
            "%(n)s delivery failed or is unknown; it is not sent again by itself",
            "%(n)s deliveries failed or are unknown; they are not sent again by themselves",
            held,
        )
        found.append(Notice(severity="warning", subject="deliveries", text=text))
    now = from_micros(runtime.clock())
    found += running_out(await budget_views(runtime) or (), now)
    with suppress(StoreUnavailable):
        found += [mixed(one) for one in differences(await servers_seen(runtime.store), now)]
        found += looked(await last_looks(runtime.store), supply.engine.snapshot)
    return _worst_first(found)


async def stopped(runtime: Runtime) -> list[Notice]:
    """Gateways that send nothing: paused, or left alone after attempts that failed in a row."""
    store, channels = runtime.store, runtime.snapshot.policy.delivered_channels()
    found = []
    for name, pause in sorted((await store.paused_gateways()).items()):
        text = Said(
            "gateway %(name)s has been paused since %(time)s: %(why)s; what is to be sent waits "
            "until somebody resumes it",
            name=name,
            time=f"{from_micros(pause.at):%Y-%m-%d %H:%M %Z}",
            why=pause.why,
        )
        found.append(Notice(severity="error", subject="deliveries", text=text, about=name))
    names = {one.about for one in found}
    for one in (await left_alone(store, sorted(channels), runtime.clock())).values():
        if one.gateway not in names:
            names.add(one.gateway)
            text = Said(
                "gateway %(name)s fails, and what is to be sent waits: %(failures)s attempts in a "
                "row, the last one because of: %(reason)s",
                name=one.gateway,
                failures=one.failures,
                reason=one.reason or "–",
            )
            found.append(
                Notice(severity="error", subject="deliveries", text=text, about=one.gateway)
            )
    return found


def running_out(budgets: Sequence[BudgetView], now: datetime) -> list[Notice]:
    """Budgets that are spent, or will be before their period ends if it goes on as until now."""
    found = []
    for one in budgets:
        if one.spent >= one.limit:
            spent = Said("budget %(name)s is spent", name=one.name)
            if one.until:
                spent = Said(
                    "budget %(name)s is spent until %(time)s",
                    name=one.name,
                    time=f"{one.until:%Y-%m-%d %H:%M %Z}",
                )
            text = Said("%(spent)s: %(amount)s", spent=spent, amount=_amount(one))
            found.append(Notice(severity="warning", subject="budgets", text=text))
        elif one.since and one.until and one.spent > 0:
            passed = (now - one.since) / (one.until - one.since)
            if passed < _SOON or one.spent / passed <= one.limit:
                continue
            ends = one.since + (now - one.since) * (one.limit / one.spent)
            text = Said(
                "budget %(name)s will be spent about %(ends)s at the present rate: %(amount)s "
                "until %(until)s",
                name=one.name,
                ends=f"{ends:%Y-%m-%d %H:%M %Z}",
                amount=_amount(one),
                until=f"{one.until:%Y-%m-%d %H:%M %Z}",
            )
            found.append(Notice(severity="note", subject="budgets", text=text))
    return found


def _amount(one: BudgetView) -> Said:
    return Said(
        "%(spent)s of %(limit)s %(unit)s",
        spent=f"{one.spent:g}",
        limit=f"{one.limit:g}",
        unit=Said(one.unit),
    )


def mixed(one: Difference) -> Notice:
    """Servers that have differed for longer than a rollout takes."""
    having = Joined(
        "; ",
        [
            Said("%(version)s on %(servers)s", version=version or Said("none"), servers=servers)
            for version, servers in (
                (version, ", ".join(sorted(on))) for version, on in one.having.items()
            )
        ],
    )
    text = Said(
        "servers differ in their %(part)s since %(time)s: %(having)s; see what the log of those "
        "that stay behind says",
        part=Said(one.part),
        time=f"{one.since:%Y-%m-%d %H:%M %Z}",
        having=having,
    )
    return Notice(severity="warning", subject="servers", text=text)


def looked(looks: Looks | None, snapshot: Snapshot) -> list[Notice]:
    """What the hourly look has found of what is in force now."""
    found: list[Notice] = []
    if looks is None:
        return found
    names = {one.name for one in snapshot.policy.definition.experiments}
    found += [
        _mismatch(one)
        for one in looks.found.sample_ratios
        if one.mismatch and names.issuperset(one.experiment.split(", "))
    ]
    served = {one.version for one in snapshot.models.values()}
    for drift in looks.found.drifts:
        if drift.version in served:
            found += _drifted(drift)
    return found


def _drifted(drift: ServingDrift) -> Iterator[Notice]:
    """That decisions differ from what one of the models learned from."""
    if drift.beyond:
        text = Said(
            "model %(model)s: decisions differ from what it learned from, by the stability index "
            "of %(indexes)s (at most %(bound)s); train it on newer decisions",
            model=drift.version,
            indexes=", ".join(f"{name} {index:.2f}" for name, index in drift.beyond.items()),
            bound=f"{drift.bound:g}",
        )
        yield Notice(severity="warning", subject="models", text=text, about=drift.path)
    for one in drift.notes:
        text = Said("model %(model)s: %(note)s", model=drift.version, note=one.text())
        yield Notice(severity="warning", subject="models", text=text, about=drift.path)


def _mismatch(one: SampleRatio) -> Notice:
    shares = [
        Said(
            "%(variant)s %(found)s instead of %(meant)s",
            variant=arm.name,
            found=f"{arm.customers / one.customers:.2%}",
            meant=f"{arm.share:.2%}",
        )
        for arm in one.arms
    ]
    text = Said(
        "experiment %(name)s: of %(n)s customers %(shares)s (sample-ratio mismatch); do not "
        "compare them before the cause is found",
        name=one.experiment,
        n=f"{one.customers:,}",
        shares=Joined(", ", shares),
    )
    return Notice(severity="warning", subject="experiments", text=text, about=one.experiment)


def _worst_first(found: list[Notice]) -> list[Notice]:
    order: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda one: order[one.severity])
