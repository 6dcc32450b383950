"""Templates: Jinja with autoescape, one environment for all pages."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from decision.console import charts
from decision.console.assets import asset
from decision.core.clock import to_micros
from decision.core.said import unpacked
from decision.releases.publishing import Publication

FOLDER: Final = Path(__file__).with_name("templates")


@functools.cache
def environment() -> Environment:
    """The environment of the console's templates. What they print is escaped."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    made.globals |= {
        "asset": asset,
        "link": link,
        "bars": charts.bars,
        "stacked": charts.stacked,
        "band": charts.band,
        "unpacked": unpacked,
    }
    made.filters |= {
        "path": path_part,
        "data": as_data,
        "file_path": file_path,
        "moment": moment,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "twice": lambda text: (text, text),
    }
    return made


def render(template: str, values: Mapping[str, Any], block: str | None = None) -> str:
    """A template with its values put in; with `block`, that block alone."""
    found = environment().get_template(template)
    if block is None:
        return found.render(values)
    context = found.new_context(dict(values))
    for _ in found.root_render_func(context):  # runs what stands outside blocks, such as imports
        break
    return "".join(found.blocks[block](context))


def link(path: str, **query: object) -> str:
    """A path with a query; what is None or "" is left out.

    >>> link("/console/operations/audit", by="ann li", page=None)
    '/console/operations/audit?by=ann+li'
    """
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def path_part(text: str) -> str:
    """A text as one part of a path: `a/b` becomes `a%2Fb`."""
    return quote(text, safe="")


def file_path(file: str) -> str:
    """The name of a file as the end of a path.

    >>> file_path("messages/a b.yaml")
    'messages/a%20b.yaml'
    """
    return quote(file, safe="/")


def moment(entry: Publication) -> str:
    """What names a publication in an address: its microseconds since 1970."""
    return str(to_micros(entry.at))


def as_data(value: object) -> Markup:
    """A value as JSON, for a `data-` attribute in double quotes."""
    return Markup("{}").format(json.dumps(value, ensure_ascii=False))
