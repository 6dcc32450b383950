"""Scripts and styles: built by `make console` from `frontend/`, with a hash in each name."""

from __future__ import annotations

import functools
import gzip
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, get
from litestar.exceptions import NotFoundException
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer

FOLDER: Final = Path(__file__).with_name("static")
PATH: Final = "/console/assets"
_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _Asset(NamedTuple):
    kind: str
    plain: bytes
    packed: bytes


@functools.cache
def _manifest() -> dict[str, str]:
    return msgspec.json.decode((FOLDER / "manifest.json").read_bytes(), type=dict[str, str])


@functools.cache
def _assets() -> dict[str, _Asset]:
    found = {}
    for name in _manifest().values():
        data = (FOLDER / name).read_bytes()
        kind = _KINDS[Path(name).suffix]
        found[name] = _Asset(kind, data, gzip.compress(data, 9, mtime=0))
    return found


def asset(name: str) -> str:
    """The path of an asset by its plain name: `console.css`.

    Raises:
        KeyError: there is none; `make console` builds them.
    """
    return f"{PATH}/{_manifest()[name]}"


def asset_routes() -> list[ControllerRouterHandler]:
    """The route of assets. Their names change with their content, so they are kept for ever."""

    @get("/assets/{name:str}", opt={"asset": True})
    async def show(request: Request[Any, Any, Any]) -> Answer:
        found = _assets().get(request.path_params["name"])
        if found is None:
            raise NotFoundException
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"vary": "Accept-Encoding"}
        if packed:
            headers["content-encoding"] = "gzip"
        return Answer(
            found.packed if packed else found.plain,
            kind=found.kind,
            cache="public, max-age=31536000, immutable",
            headers=headers,
        )

    return [show]
