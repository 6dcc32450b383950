"""The report as one self-contained page, `report/index.html`, with the charts beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from decision.core.clock import from_micros
from decision.installation import install_hint
from decision.learning.report.facts import MeasuredFigure, ReportFacts
from decision.scoring.manifest import Manifest
from decision.scoring.notes import cautions_first, is_caution, text_of

_TITLES: Final = {
    "calibration.svg": "Observed and predicted shares, in groups of equal size.",
    "lift.svg": "Each bar is a tenth of the rows; the lines are 95 % intervals.",
    "gain.svg": "How soon responses are found if the highest predictions come first.",
    "importance.svg": "What each feature that is used counts for.",
    "shap.svg": (
        "Each dot is a row: how far the feature moved its prediction. Red values are high, blue "
        "ones low, grey ones missing or categories."
    ),
    "drift.svg": "How far the rows differ from those of the previous version.",
}


def write_report(folder: Path, manifest: Manifest, facts: ReportFacts) -> None:
    """Writes the page and its charts; without matplotlib only the page, with a note."""
    from decision.learning.report.plots import draw_all

    try:
        pictures = draw_all(facts)
        missing = ""
    except ImportError:
        pictures, missing = {}, install_hint("Charts need matplotlib")
    folder.mkdir()
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    (folder / "index.html").write_text(_page(manifest, facts, pictures, missing), "utf-8")


def _page(
    manifest: Manifest, facts: ReportFacts, pictures: Mapping[str, bytes], missing: str
) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "share": _share, "interval": _interval}
    environment.filters |= {"text": text_of, "is_caution": is_caution}
    environment.tests["is_caution"] = is_caution
    shown = [
        {"title": _TITLES[name], "data": base64.b64encode(data).decode()}
        for name, data in pictures.items()
    ]
    return environment.get_template("page.html").render(
        manifest=manifest,
        training=manifest.training,
        notes=cautions_first(manifest.training.notes),
        facts=facts,
        pictures=shown,
        missing=missing,
        span=_span(manifest),
        made=datetime.fromisoformat(manifest.created_at).astimezone(UTC).strftime("%Y-%m-%d %H:%M"),
        calibration=_calibration(manifest),
        spec=msgspec.json.format(msgspec.json.encode(facts.spec), indent=2).decode(),
        parameters=manifest.training.parameters,
    )


def _span(manifest: Manifest) -> str:
    training = manifest.training
    if training.from_time is None or training.to_time is None:
        return "times unknown"
    first, last = (from_micros(at) for at in (training.from_time, training.to_time))
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def _calibration(manifest: Manifest) -> str:
    if manifest.isotonic is not None:
        return f"isotonic, {len(manifest.isotonic.knots)} knots"
    if manifest.calibration is not None:
        found = manifest.calibration
        return f"Platt: slope {found.slope:.4g}, intercept {found.intercept:.4g}"
    return "none"


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:,.4g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _interval(value: MeasuredFigure) -> str:
    if value.low is None or value.high is None:
        return ""
    return f"{value.low:.4g} to {value.high:.4g}"
