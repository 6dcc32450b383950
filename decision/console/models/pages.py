"""The pages at `/console/models`: the list, one of each version, its files, and two changes."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from litestar import Request, get, post
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.console import Console, go, on
from decision.console.errors import PageError
from decision.console.forms import Form, form_of, query_of
from decision.console.language import N_, Language
from decision.console.models import judging
from decision.console.operations import there
from decision.console.span import problem_of
from decision.console.visitors import visitor_of
from decision.core.clock import from_micros
from decision.core.errors import NextbestError, NotReady, StoreUnavailable
from decision.scoring.scope import Scope, parse_scope
from decision.server.audit import AuditEntry, entries
from decision.server.looks import last_looks

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.evaluation.gate_figures import GateFigure
    from decision.evaluation.model_views import ModelsView, ModelView
    from decision.evaluation.report import EvaluationReport

PATH: Final = "/console/models"
_WITHIN: Final = 120.0
"""Seconds that judging by a log may take."""
_AUDITED: Final = 10
_DRIFTED: Final = 15
_LONGEST_WHY: Final = 300
_PICTURES: Final = {
    "calibration": N_("Calibration: predicted and observed shares"),
    "lift": N_("Lift: responses in each tenth of the rows, highest predictions first"),
    "gain": N_("Gain: how soon responses are found, highest predictions first"),
    "importance": N_("Importance: what each feature counts for"),
    "shap": N_("Contributions: how far each feature moves a prediction"),
    "drift": N_("Drift: how far the rows differ from those of the version before"),
}
_IMAGES: Final = {".svg": "image/svg+xml", ".png": "image/png"}
"""Versions of earlier releases have PNG."""
FIGURES: Final = {
    "auc": N_("AUC: how well it tells responses from the rest (0.5 is chance)"),
    "log_loss": N_("log loss (lower is better)"),
    "brier": N_("Brier score (lower is better)"),
    "calibration_error": N_("calibration error (0 is exact)"),
    "predicted_over_observed": N_("predicted responses over observed (1 is exact)"),
    "top_decile_lift": N_("lift of the top tenth (1 is chance)"),
}
_Request = Request[Any, Any, Any]


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The list, a page for each version with parts that take long, its files, and changes."""

    def folder() -> Path:
        if console.settings.models is None:
            raise PageError(404, N_("The server has no folder of models: see NEXTBEST_MODELS."))
        return Path(console.settings.models)

    async def seen() -> ModelsView:
        from decision.evaluation.model_views import models_view

        return await console.work(partial(models_view, folder()))

    async def chosen(form: Form) -> tuple[ModelsView, ModelView, Path]:
        found, path = await seen(), form.text("version")
        view = next((one for one in found.versions if one.path == path), None)
        if view is None:
            raise PageError(404, N_("There is no such version in the folder of models."))
        return found, view, folder() / view.path

    @get("/models")
    async def listed(request: _Request) -> Answer:
        return await list_page(request)

    async def list_page(request: _Request, problem: str = "") -> Answer:
        given = console.settings.models is not None
        noted: list[AuditEntry] = []
        with suppress(StoreUnavailable):  # the folder has the rest
            every = await entries(console.engine.runtime.store)
            noted = [one for one in every if one.action.startswith("model.")]
        return await console.page(
            request,
            "models.html",
            status=409 if problem else 200,
            problem=problem,
            found=await seen() if given else None,
            served=_served(console),
            where=partial(_where, visitor_of(request).language),
            supply=console.upkeep.supply.models.current,
            noted=noted[: -_AUDITED - 1 : -1],
            moment=_moment,
            path=PATH,
        )

    @get("/models/version")
    async def shown(request: _Request) -> Answer:
        from decision.evaluation.model_views import drift_of

        found, view, place = await chosen(query_of(request))
        champion, drift = await console.work(partial(drift_of, folder(), place))
        return await page(request, found, view, champion=champion, drift=drift)

    async def page(request: _Request, found: ModelsView, view: ModelView, **own: Any) -> Answer:
        known: dict[str, Any] = {"champion": "", "drift": {}, "figures": None, "status": 200}
        known |= {"part": None, "report": None, "earned": None, "problem": ""}
        looks, _ = await there(last_looks(console.engine.runtime.store), None)
        drifts = [] if looks is None else looks.found.drifts
        said = visitor_of(request).language.known
        left_out = {} if view.manifest is None else view.manifest.training.left_out
        return await console.page(
            request,
            "model.html",
            found=found,
            view=view,
            past=[one for one in found.promotions if one.version == view.path],
            at=from_micros,
            moment=_moment,
            names=FIGURES,
            where=partial(_where, visitor_of(request).language),
            pictures=[(one, _PICTURES.get(Path(one).stem, one)) for one in view.pictures],
            most=_DRIFTED,
            left_out=[(said(why), count) for why, count in left_out.items()],
            archive=console.settings.archive,
            serving=next((one for one in drifts if one.path == view.path), None),
            path=PATH,
            **(known | own),
        )

    @get("/models/judged")
    async def judged(request: _Request) -> Answer:
        """The gate, or what the log says it would earn: parts of the page, which take long."""
        from decision.evaluation.earned import earned_of

        form = query_of(request)
        found, view, place = await chosen(form)
        part = "estimate" if form.text("part") == "estimate" else "gate"
        figures: list[GateFigure] | None = None
        report: EvaluationReport | None = None
        archive, rules, problem = console.settings.archive, _rules(console), ""
        try:
            if part == "gate":
                judge = partial(judging.evidence, folder(), place, archive, rules)
                _, figures = await console.work(judge, _WITHIN)
            elif archive is not None:
                estimate = partial(judging.estimate, folder(), place, archive, rules)
                report = await console.work(estimate, _WITHIN)
        except (NextbestError, OSError, ImportError) as error:
            problem = problem_of(error, request)
        own = {"part": part, "figures": figures, "report": report, "problem": problem}
        earned = None if report is None else earned_of(report)
        block = "judged" if on(request) else None
        return await page(request, found, view, block=block, earned=earned, **own)

    @get("/models/file")
    async def file(request: _Request) -> Answer:
        from decision.evaluation.model_views import report_file

        form = query_of(request)
        *_, place = await chosen(form)
        name = form.text("name")
        data = await console.work(partial(report_file, place, name))
        if data is None:
            raise PageError(404, N_("The report of this version has no such file."))
        if kind := _IMAGES.get(Path(name).suffix):
            return Answer(data, kind=kind, cache="private, max-age=3600")
        named = {"content-disposition": 'attachment; filename="report.html"'}
        return Answer(data, kind="application/octet-stream", headers=named)

    @post("/models/promote", status_code=200, opt={"scope": "publish"})
    async def promote(request: _Request) -> Answer:
        from decision.evaluation.promotion import put_in_force

        form = form_of(request)
        found, view, place = await chosen(form)
        why, force = _why(form), form.text("force") == "yes"
        judge = partial(
            judging.evidence, folder(), place, console.settings.archive, _rules(console)
        )
        by = visitor_of(request).name
        put = partial(put_in_force, folder(), force=why if force else None, by=by, why=why)
        try:
            evidence, figures = await console.work(judge, _WITHIN)
            done = await console.work(partial(put, evidence, figures))
        except (NextbestError, OSError, ImportError) as error:
            own = {"problem": problem_of(error, request), "status": 409}
            return await page(request, found, view, **own)
        if done.outcome == "refused":
            own = {"part": "gate", "figures": done.figures, "status": 409}
            return await page(request, found, view, **own)
        action = "model.promote" if done.outcome == "current" else "model.force"
        await console.audit(request, action, target=view.path, reason=why)
        return go(request, PATH)

    @post("/models/challenge", status_code=200, opt={"scope": "publish"})
    async def challenge(request: _Request) -> Answer:
        from decision.evaluation import promotion

        form = form_of(request)
        found, view, place = await chosen(form)
        why, by = _why(form), visitor_of(request).name
        if view.current:
            raise PageError(409, N_("This version decides already: it cannot challenge itself."))
        begin = partial(promotion.challenge, folder(), place, reason=why, by=by)
        try:
            await console.work(begin, _WITHIN)
        except (NextbestError, OSError) as error:
            own = {"problem": problem_of(error, request), "status": 409}
            return await page(request, found, view, **own)
        await console.audit(request, "model.challenge", target=view.path, reason=why)
        return go(request, PATH)

    @post("/models/end-challenge", status_code=200, opt={"scope": "publish"})
    async def end_challenge(request: _Request) -> Answer:
        from decision.evaluation.promotion import clear_shadow

        form = form_of(request)
        why, scope = _why(form), _scope(form)
        try:
            ended = await console.work(partial(clear_shadow, folder(), scope))
        except (NextbestError, OSError) as error:
            return await list_page(request, problem_of(error, request))
        if not ended:
            say = visitor_of(request).language.gettext
            return await list_page(request, say(N_("There is no challenger.")))
        await console.audit(request, "model.challenge-end", target=str(scope), reason=why)
        return go(request, PATH)

    @post("/models/roll-back", status_code=200, opt={"scope": "publish"})
    async def roll_back(request: _Request) -> Answer:
        from decision.releases.rollback import roll_back_model

        form = form_of(request)
        why, wanted, scope = _why(form), form.text("version") or None, _scope(form)
        try:
            back = partial(roll_back_model, folder(), wanted, scope)
            version = await console.work(back)
        except (NextbestError, OSError) as error:
            return await list_page(request, problem_of(error, request))
        await console.audit(request, "model.rollback", target=version or str(scope), reason=why)
        return go(request, PATH)

    return [listed, shown, judged, file, promote, challenge, end_challenge, roll_back]


def _why(form: Form) -> str:
    why = form.text("why").strip()[:_LONGEST_WHY]
    if not why:
        raise PageError(400, N_("Say why: it is kept with the change."))
    return why


def _scope(form: Form) -> Scope:
    """The scope that is chosen: `placement=NAME<tab>purpose=NAME`, or nothing for all others."""
    chosen = form.text("scope")
    scope = parse_scope(chosen.split("\t") if chosen else [])
    if scope is None:
        raise PageError(400, N_("That is no scope: choose one of the list."))
    return scope


def _where(language: Language, scope: Scope) -> str:
    """Where a model decides, in words."""
    say = language.gettext
    match scope.placement, scope.purpose:
        case None, None:
            return say(N_("everywhere else"))
        case placement, None:
            return say(N_("at %(placement)s")) % {"placement": placement}
        case None, purpose:
            return say(N_("for %(purpose)s")) % {"purpose": purpose}
        case placement, purpose:
            return say(N_("at %(placement)s for %(purpose)s")) % {
                "placement": placement,
                "purpose": purpose,
            }


def _rules(console: Console) -> PolicyDefinition | None:
    try:
        return console.engine.snapshot.policy.definition
    except NotReady:
        return None


def _served(console: Console) -> str | None:
    """The version that this server scores with."""
    model = console.upkeep.supply.models.current.model
    return None if model is None else f"{model.manifest.name}/{model.manifest.version}"


def _moment(text: str) -> datetime | None:
    """A time as manifests and histories have it."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
