"""SQL in files of their own: each query follows a line `-- name: …`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files as resources


@cache
def queries(package: str, file: str) -> Mapping[str, str]:
    """The queries of a file beside the modules of a package, by name.

    >>> sorted(queries("decision.analytics", "journeys.sql"))[:2]
    ['did', 'ends']
    """
    text = resources(package).joinpath(file).read_text("utf-8")
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))
