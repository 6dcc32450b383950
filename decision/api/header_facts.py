"""What a request's headers say, found out once: a client sends the same ones again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from litestar.types import Scope

_FORWARDED: Final = frozenset({b"forwarded", b"x-real-ip", b"x-client-ip", b"via"})


class HeaderFacts:
    """Facts of some headers, whose names are in lower case.

    `size` is their bytes, `by_name` has the last of each name. `from_proxy` is the first by which a
    proxy says that it passes on the request of another: who reaches us without a proxy has no
    reason to send one; who wants keys to be asked for may. `fits` is what a body with these headers
    was found to fit (see `check_headers`).

    >>> facts = HeaderFacts([(b"host", b"localhost"), (b"x-forwarded-for", b"192.0.2.1")])
    >>> facts.size, facts.hosts, facts.from_proxy
    (37, [b'localhost'], b'x-forwarded-for')
    """

    __slots__ = ("by_name", "fits", "from_proxy", "hosts", "origins", "size")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.by_name = dict(headers)
        self.size = sum([len(name) + len(value) for name, value in headers])
        self.hosts = [value for name, value in headers if name == b"host"]
        self.origins = [value for name, value in headers if name == b"origin"]
        self.from_proxy = next(filter(_is_of_proxy, self.by_name), None)
        self.fits = set[object]()


def facts_of(scope: Scope) -> HeaderFacts:
    """The facts of a request's headers; our own server has found them out already."""
    state = scope["state"]
    found: HeaderFacts | None = state.get("header_facts")
    if found is None:
        found = state["header_facts"] = HeaderFacts(list(scope["headers"]))
    return found


def _is_of_proxy(name: bytes) -> bool:
    return name in _FORWARDED or name.startswith(b"x-forwarded-")
