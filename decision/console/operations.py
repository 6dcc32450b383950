"""Operations: how the server is and how fast, what is left, what was rejected, who may call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, TypeVar

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.charts import Series
from decision.console.console import Console
from decision.console.forms import query_of
from decision.console.language import N_, Language
from decision.console.visitors import visitor_of
from decision.console.words import OUTCOMES
from decision.core.clock import MINUTE
from decision.core.coupons import CouponCounts
from decision.core.errors import NotReady, StoreUnavailable
from decision.engine.budget_views import BudgetView, budget_views
from decision.server.activity import Glance, glances
from decision.server.decision_metrics import STEPS
from decision.server.figures import Figures
from decision.server.notices import notices
from decision.server.quarantine import Quarantine, Quarantined, quarantined
from decision.server.servers import servers_seen
from decision.store.erasures import latest

T = TypeVar("T")

PATH: Final = "/console/operations"
_ROWS: Final = 50
_ERASURES: Final = 200
_MINUTES: Final = 60
SHARES: Final = (0.5, 0.95, 0.99)

TABS: Final = (
    (N_("Overview"), PATH),
    (N_("Budgets and coupons"), f"{PATH}/budgets"),
    (N_("Deliveries"), f"{PATH}/deliveries"),
    (N_("Rejected events"), f"{PATH}/rejected"),
    (N_("Erasures"), f"{PATH}/erasures"),
    (N_("API keys"), f"{PATH}/keys"),
    (N_("Audit"), f"{PATH}/audit"),
)

STEP_WORDS: Final = {
    "read": N_("read the customer"),
    "decide": N_("decide"),
    "reserve": N_("reserve and log"),
    "total": N_("all together"),
}


def tabs(request: Request[Any, Any, Any]) -> list[tuple[str, str]]:
    """The parts of operations, in the language of whoever looks."""
    language: Language = visitor_of(request).language
    return [(language.gettext(text), path) for text, path in TABS]


async def there(asked: Awaitable[T], otherwise: T) -> tuple[T, bool]:
    """What the store answers and true; where it does not answer, `otherwise` and false."""
    try:
        return await asked, True
    except StoreUnavailable:
        return otherwise, False


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The pages at `/console/operations`; each part has an address of its own."""
    runtime = console.engine.runtime

    @get("/operations")
    async def overview(request: Request[Any, Any, Any]) -> Answer:
        now = runtime.clock()
        since = (now // MINUTE - _MINUTES + 1) * MINUTE
        minutes, answered = await there(glances(runtime.store, since, now, by="minute"), [])
        wakes, _ = await there(runtime.store.count_wakes(), None)
        held, _ = await there(runtime.store.held_journeys(), {})
        figures = Figures(console.metrics.families())
        try:
            snapshot = console.engine.snapshot
        except NotReady:
            snapshot = None
        return await console.page(
            request,
            "operations.html",
            tabs=tabs(request),
            notices=await notices(console.upkeep),
            answered=answered,
            times=[one.at for one in minutes],
            step=timedelta(minutes=1),
            series=by_outcome(minutes, visitor_of(request).language.gettext),
            last=sum(sum(one.decisions.values()) for one in minutes),
            latency=latency(figures),
            figures=figures,
            snapshot=snapshot,
            versions={
                "policy": sorted(figures.by("nextbest_policy_info", "version")),
                "model": sorted(figures.by("nextbest_model_info", "version")),
                "shadow": sorted(figures.by("nextbest_shadow_info", "version")),
            },
            servers=(await there(servers_seen(runtime.store), []))[0],
            now=console.now(),
            wakes=wakes,
            paused=len(held or {}),
            step_words=STEP_WORDS,
        )

    @get("/operations/budgets")
    async def budgets(request: Request[Any, Any, Any]) -> Answer:
        policy, now = console.engine.snapshot.policy, runtime.clock()
        found = await budget_views(runtime)
        asked = query_of(request)
        pages = max(1, -(-len(found or ()) // _ROWS))
        page = asked.number("page", 1, 1, pages)
        pools, answered = await there(_pools(console, [*policy.coupons], now), {})
        return await console.page(
            request,
            "operations_budgets.html",
            tabs=tabs(request),
            budgets=[
                (one, forecast(one, console.now().timestamp()))
                for one in (found or [])[(page - 1) * _ROWS : page * _ROWS]
            ],
            total=len(found or ()),
            page=page,
            pages=pages,
            pools=pools,
            answered=answered and found is not None,
        )

    @get("/operations/rejected")
    async def rejected(request: Request[Any, Any, Any]) -> Answer:
        asked = query_of(request)
        found, answered = await there(quarantined(runtime.store), Quarantine([]))
        source, text = asked.text("source"), asked.text("text").strip()
        rows = [one for one in found.rejected if _kept(one, source, text)]
        pages = max(1, -(-len(rows) // _ROWS))
        page = asked.number("page", 1, 1, pages)
        return await console.page(
            request,
            "operations_rejected.html",
            tabs=tabs(request),
            rows=rows[(page - 1) * _ROWS : page * _ROWS],
            total=len(rows),
            anything=bool(found.rejected),
            page=page,
            pages=pages,
            source=source,
            text=text,
            sources=[(one, one) for one in sorted({row.source for row in found.rejected})],
            answered=answered,
        )

    @get("/operations/erasures")
    async def erasures(request: Request[Any, Any, Any]) -> Answer:
        async def certificates() -> list[Any]:
            store = runtime.store
            return await latest(store, await store.file_state(), _ERASURES)

        found, answered = await there(certificates(), [])
        only = query_of(request).text("show") != "all"
        return await console.page(
            request,
            "operations_erasures.html",
            tabs=tabs(request),
            rows=[one for one in found if one.pending or not only],
            total=len(found),
            only=only,
            answered=answered,
        )

    @get("/operations/keys")
    async def keys(request: Request[Any, Any, Any]) -> Answer:
        return await console.page(
            request,
            "operations_keys.html",
            tabs=tabs(request),
            keys=sorted(console.upkeep.keys.keys, key=lambda one: one.name),
            problem=console.upkeep.keys.problem,
            soon=console.now() + timedelta(days=14),
            now=console.now(),
        )

    return [overview, budgets, rejected, erasures, keys]


def by_outcome(minutes: list[Glance], gettext: Callable[[str], str]) -> list[Series]:
    """Outcome → decisions in each minute."""
    return [
        Series(gettext(text), [one.decisions.get(("", name, ""), 0) for one in minutes])
        for name, text in OUTCOMES.items()
    ]


def latency(figures: Figures) -> dict[str, list[float]]:
    """Step → milliseconds below which half, 95 % and 99 % of decisions took; none without any."""
    name = "nextbest_decision_seconds"
    found = {}
    for step in STEPS:
        values = [figures.quantile(name, share, step=step) for share in SHARES]
        if None not in values:
            found[step] = [1000 * value for value in values if value is not None]
    return found


def forecast(budget: BudgetView, now: float) -> float | None:
    """What will be spent at the end of the period, if it goes on so; None too early, or without."""
    if budget.since is None or budget.until is None:
        return None
    begins, ends = budget.since.timestamp(), budget.until.timestamp()
    passed = (now - begins) / (ends - begins)
    return budget.spent / passed if passed >= 0.05 else None


async def _pools(console: Console, names: list[str], now: int) -> dict[str, CouponCounts]:
    store = console.engine.runtime.store
    every = dict.fromkeys([*names, *await store.coupon_pools()])
    return {name: await store.count_codes(name, now) for name in every}


def _kept(one: Quarantined, source: str, text: str) -> bool:
    said = (one.detail, one.key, one.place, one.kind, one.event, one.id)
    return (not source or one.source == source) and (
        not text or any(text.casefold() in part.casefold() for part in said if part)
    )
