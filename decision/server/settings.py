"""The server's settings: one table of names, defaults and help, for variables, flags and docs."""

from __future__ import annotations

import functools
import ipaddress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from decision.core.errors import NextbestError

PREFIX = "NEXTBEST_"
_LOOPBACK_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost"}


class SettingsError(NextbestError, ValueError):
    """A setting cannot be used: which, and what to set instead.

    `reason` says why a file cannot be used, in a few words, without its path and content.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def _about(text: str, ge: int | None = None, le: int | None = None) -> Meta:
    """The help of a setting, and the least and the largest number that it may be."""
    return Meta(description=text, ge=ge, le=le)


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What may be set about the server. Field `port` is `NEXTBEST_PORT` and `--port`."""

    redis_url: Annotated[
        str | None,
        _about(
            "Redis to keep everything in: redis://, rediss:// or unix://, or several servers: "
            "redis+cluster:// or redis+sentinel://. Left out, an embedded Redis is started in "
            "./.nextbest/."
        ),
    ] = None
    rules: Annotated[str, _about("Folder of the rule files.")] = "rules"
    follow: Annotated[
        Literal["folder", "published"],
        _about(
            "Where the policy comes from: the rules folder, or what `nextbest publish` "
            "has put into the store, for all servers at once."
        ),
    ] = "folder"
    review: Annotated[
        Literal["off", "required"],
        _about(
            "Whether somebody who has not written in a draft of rules must approve it before it "
            "is published from the console. required needs NEXTBEST_API_KEYS_FILE."
        ),
    ] = "off"
    models: Annotated[
        str | None,
        _about("Folder of published model versions. Where it has none, a prior stands in."),
    ] = "models"
    host: Annotated[
        str, _about("Address to listen on. Other than loopback needs NEXTBEST_API_KEYS_FILE.")
    ] = "127.0.0.1"
    port: Annotated[int, _about("Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8000
    workers: Annotated[int, _about("Processes that answer.", ge=1, le=512)] = 1
    api_keys_file: Annotated[
        str | None, _about("File of API keys (YAML or JSON), as `nextbest key create` prints them.")
    ] = None
    allowed_hosts: Annotated[
        str | None,
        _about(
            "Names of the server that a request's Host may have, with commas between "
            "them. Left out: any where there are API keys, else localhost and loopback addresses."
        ),
    ] = None
    timeout_ms: Annotated[
        int,
        _about("A decision's deadline where the request names none; past it, a fallback.", ge=1),
    ] = 1000
    max_body_bytes: Annotated[int, _about("Largest body of one request.", ge=1024)] = 1024 * 1024
    max_batch_bytes: Annotated[
        int, _about("Largest body of a batch; a line may have NEXTBEST_MAX_BODY_BYTES.", ge=1024)
    ] = 64 * 1024 * 1024
    max_events: Annotated[int, _about("Most events in one request.", ge=1)] = 1000
    batch_concurrency: Annotated[
        int, _about("Decisions of one batch that are made at once.", ge=1, le=1024)
    ] = 16
    max_batches: Annotated[
        int, _about("Batches that a worker answers at once; more are refused.", ge=1)
    ] = 32
    body_timeout_ms: Annotated[
        int,
        _about(
            "How long a request's head or body may take to arrive. A batch may take "
            "longer, at 100 bytes per second or more.",
            ge=100,
        ),
    ] = 10_000
    write_timeout_ms: Annotated[
        int, _about("How long a client may leave its answer unread before it is cut off.", ge=100)
    ] = 30_000
    max_connections: Annotated[
        int,
        _about(
            "Connections open at once, per worker; fewer where the system allows a "
            "process fewer files. Beyond them idle ones are closed, and health and metrics are "
            "answered.",
            ge=1,
        ),
    ] = 10_000
    max_bytes_in_flight: Annotated[
        int,
        _about(
            "Bytes of requests that a worker holds at once, with what they become when "
            "decoded; half of them is for batches. Beyond it, requests of more than 8 KB get a 503 "
            "and lines of batches wait.",
            ge=1024 * 1024,
        ),
    ] = 64 * 1024 * 1024
    connections_per_ip: Annotated[
        int,
        _about(
            "Of these, how many from one address other than this machine. A proxy "
            "counts as one address.",
            ge=1,
        ),
    ] = 2_000
    shutdown_timeout_ms: Annotated[
        int, _about("How long requests in hand may take when the server stops.", ge=0)
    ] = 20_000
    watch: Annotated[bool, _about("Reload the rules when a file of theirs changes.")] = False
    console: Annotated[
        bool, _about("Serve the console, pages for people in a browser, at /console.")
    ] = True
    archive: Annotated[
        str | None,
        _about("Folder that `nextbest archive` writes: older decisions are found there."),
    ] = None
    gateways: Annotated[
        str | None,
        _about(
            "File of the gateways that deliver (YAML). Left out: deliveries are written to files "
            "in ./.nextbest/outbox/."
        ),
    ] = None
    outbound: Annotated[
        bool,
        _about("Also send what is to be delivered, and run journeys, as `nextbest outbound` does."),
    ] = False
    segment_traits: Annotated[
        str | None,
        _about(
            "Traits of Segment's identify that are stored as attributes, with commas between them; "
            "trait=attribute where the names differ. Left out: none."
        ),
    ] = None
    segment_events: Annotated[
        str | None,
        _about(
            "Names of Segment's events whose type is another one here, as "
            "Order Completed=purchase, with commas between them."
        ),
    ] = None
    segment_merge: Annotated[
        bool, _about("Merge the two customers of Segment's alias; otherwise it changes nothing.")
    ] = False
    segment_body_bytes: Annotated[
        int, _about("Largest body of Segment's calls, unpacked.", ge=1024)
    ] = 4 * 1024 * 1024 + 64 * 1024
    segment_origins: Annotated[
        str | None,
        _about(
            "Web origins whose pages may send Segment's calls (CORS), as https://shop.example, "
            "with commas between them. Left out: none."
        ),
    ] = None
    log_limit_mb: Annotated[
        int,
        _about(
            "Memory that the log may take in Redis while no archive takes it, in MB, "
            "and at most half of Redis' maxmemory; beyond it the oldest entries go. 0: no limit.",
            ge=0,
        ),
    ] = 256
    log_lag_minutes: Annotated[
        int,
        _about(
            "How long an entry of the log may wait for its archive before servers say so, as `log` "
            "in `degraded`: until then Redis keeps it, so less where its memory is short.",
            ge=1,
        ),
    ] = 60
    event_ids_hours: Annotated[
        int,
        _about(
            "How long the id of an event is remembered, so that one that is sent again counts "
            "once. 168 is the seven days that callers are promised; less takes less memory.",
            ge=1,
            le=168,
        ),
    ] = 168
    seed: Annotated[
        str | None, _about("Makes exploration repeatable: for tests and replays only.")
    ] = None
    lowercase_emails: Annotated[
        bool,
        _about(
            "Read and keep aliases of the type email in lower case, everywhere; load "
            "customers again after setting it."
        ),
    ] = False
    erasure_rewrite_hours: Annotated[
        int,
        _about(
            "After an erasure, Redis' append-only file is rewritten, at most once in "
            "this many hours: so long, at most, the customer can be read in it. 0: never.",
            ge=0,
            le=8760,
        ),
    ] = 24
    durability: Annotated[
        Literal["none", "wait:1", "wait:2", "wait:3", "wait:4", "wait:5"],
        _about(
            "wait:N has each write of a customer wait until N replicas of its Redis have it; where "
            "they do not in time, a decision says durability in degraded. none waits for none."
        ),
    ] = "none"
    budget_lease_seconds: Annotated[
        int,
        _about(
            "Servers hold units of budgets in portions, so that no decision waits for others. What "
            "one held that was killed comes back after so long.",
            ge=2,
            le=3600,
        ),
    ] = 10
    key_prefix: Annotated[str, _about("What every Redis key starts with.")] = "nb:"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _about("Least level that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["json", "console"], _about("Log lines as json, or for people: console.")
    ] = "json"

    @property
    def host_names(self) -> frozenset[str] | None:
        """The names in `allowed_hosts`, in lower case; None where it is left out."""
        if self.allowed_hosts is None:
            return None
        names = (name.strip().lower() for name in self.allowed_hosts.split(","))
        return frozenset(name.strip("[]").removesuffix(".") for name in names if name)


def replicas_of(durability: str) -> int:
    """How many replicas must have a commit.

    >>> replicas_of("none"), replicas_of("wait:2")
    (0, 2)
    """
    return int(durability.partition(":")[2] or 0)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of settings. `choices` is empty where any value of `type` will do."""

    name: str
    field: str
    default: Any
    help: str
    type: type
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The option of `nextbest serve`."""
        return "--" + self.field.replace("_", "-")


def _table() -> tuple[Setting, ...]:
    rows = []
    for field in msgspec.structs.fields(ServerSettings):
        plain = field.type.__origin__
        choices: tuple[str, ...] = ()
        if getattr(plain, "__origin__", None) is Literal:
            choices, plain = plain.__args__, str
        elif plain == str | None:
            plain = str
        rows.append(
            Setting(
                name=PREFIX + field.name.upper(),
                field=field.name,
                default=field.default,
                help=field.type.__metadata__[0].description,
                type=plain,
                choices=choices,
            )
        )
    return tuple(rows)


SETTINGS: tuple[Setting, ...] = _table()
"""Every setting, in the order in which help lists them."""


@functools.lru_cache(1024)
def is_loopback_host(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine alone."""
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
