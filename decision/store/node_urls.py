"""URLs of several servers: the nodes of a cluster, or sentinels and the name of what they watch.

    redis+cluster://user:password@host:6379,host:6380
    redis+sentinel://user:password@host,host:26380/name/0?sentinel_password=secret

Both with `rediss+…` for TLS, and with the options that a URL of one server has. The login is that
of the servers of data; sentinels have `sentinel_username` and `sentinel_password`.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote

from decision.store.urls import ENCODE, ServerAddress, bad_url, parse_url

Kind = Literal["cluster", "sentinel"]

_PORTS: Final[dict[str, int]] = {"cluster": 6379, "sentinel": 26379}
_SCHEME: Final = re.compile(r"(rediss?)\+(cluster|sentinel)://", re.IGNORECASE)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
"""What Sentinel takes for a name."""

_OF_SENTINELS: Final = re.compile(r"(?:(?<=[?&])sentinel_(username|password)=([^&#]*)&?)")


class NodesUrl(NamedTuple):
    """`places` are the hosts and ports that the URL names.

    `address` is the login and TLS of every server of data. `name` is what sentinels call the
    primary; `sentinel_login` is redis-py's username and password for sentinels.
    """

    kind: Kind
    places: tuple[tuple[str, int], ...]
    address: ServerAddress
    name: str = ""
    sentinel_login: dict[str, str] = {}  # noqa: RUF012 - never changed


def parse_nodes_url(url: str) -> NodesUrl | None:
    """What a URL of several servers says; None where it is one of a single server.

    >>> found = parse_nodes_url("redis+sentinel://:secret@a,[::1]:5000/main/2")
    >>> found.places, found.name, found.address.options["db"]
    ((('a', 26379), ('::1', 5000)), 'main', 2)

    Raises:
        StoreUnavailable: it cannot be used; the text says why, and quotes nothing of it.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return None
    base, kind = scheme[1].lower(), scheme[2].lower()
    rest = url[scheme.end() :]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, hosts = authority.rpartition("@")
    path, _, query = rest[len(authority) :].partition("?")
    places = tuple(
        _place(number, host, _PORTS[kind]) for number, host in enumerate(hosts.split(","), 1)
    )
    name, own = "", {}
    if kind == "sentinel":
        path, name = _path_and_name(path)
        own = {found[1]: unquote(found[2]) for found in _OF_SENTINELS.finditer(f"?{query}")}
        query = _OF_SENTINELS.sub("", f"?{query}")[1:].rstrip("&")
    host, port = places[0]
    shown = f"[{host}]" if ":" in host else host
    query = f"?{query}" if query else ""
    address = parse_url(f"{base}://{login}{at}{shown}:{port}{path}{query}")
    if kind == "cluster":
        if address.options.get("db"):
            raise bad_url("a cluster has database 0 alone")
        return NodesUrl("cluster", places, address)
    return NodesUrl("sentinel", places, address, name, own)


def _place(number: int, text: str, port: int) -> tuple[str, int]:
    """A host and port, the `number`-th of the list. No message quotes it: a part of a password with
    a slash may be taken for one."""
    found = _HOST.fullmatch(text)
    if not text:
        raise bad_url(f"host {number} of its list is empty; write host:port,host:port")
    if found is None or not 0 < int(found[2] or port) < 65536:
        raise bad_url(
            f"host {number} of its list cannot be read; write host:port, or [::1]:port, with "
            f"commas and without blanks between them; {ENCODE}"
        )
    return found[1].strip("[]"), int(found[2] or port)


def _path_and_name(path: str) -> tuple[str, str]:
    """The path of a database, if there is one, and the name of what sentinels watch."""
    _, _, rest = path.partition("/")
    name, separator, database = rest.partition("/")
    if not name:
        raise bad_url("after its sentinels it lacks the name of what they watch, as /mymaster")
    if _NAME.fullmatch(name) is None:
        raise bad_url("what follows its sentinels is not the name of what they watch")
    return separator + database, name
