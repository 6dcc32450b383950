"""The server's settings: one table of names, defaults and help, for variables, flags and docs."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from decision.core.errors import NextbestError

PREFIX = "NEXTBEST_"
_FOR_COMMANDS = ("NEXTBEST_API_KEY", "NEXTBEST_TRACEBACK")
_BY_OTHERS = re.compile(
    r"NEXTBEST_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+|TEST_\w+|DATA|CAMPAIGN)"
)
"""What Kubernetes sets, and what tests and benchmarks read."""
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
_LOOPBACK_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost"}


class SettingsError(NextbestError, ValueError):
    """A setting cannot be used: which, and what to set instead.

    `reason` says why a file cannot be used, in a few words, without its path and content.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What may be set about the server. Field `port` is `NEXTBEST_PORT` and `--port`."""

    redis_url: Annotated[
        str | None,
        Meta(
            description="Redis to keep everything in: redis://, rediss:// or unix://. Left out, an "
            "embedded Redis is started in ./.nextbest/."
        ),
    ] = None
    rules: Annotated[str, Meta(description="Folder of the rule files.")] = "rules"
    follow: Annotated[
        Literal["folder", "published"],
        Meta(
            description="Where the policy comes from: the rules folder, or what `nextbest publish` "
            "has put into the store, for all servers at once."
        ),
    ] = "folder"
    models: Annotated[
        str | None,
        Meta(
            description="Folder of published model versions. Where it has none, a prior stands in."
        ),
    ] = "models"
    host: Annotated[
        str,
        Meta(description="Address to listen on. Other than loopback needs NEXTBEST_API_KEYS_FILE."),
    ] = "127.0.0.1"
    port: Annotated[
        int, Meta(description="Port to listen on; 0 takes a free one.", ge=0, le=65535)
    ] = 8000
    workers: Annotated[int, Meta(description="Processes that answer.", ge=1, le=512)] = 1
    api_keys_file: Annotated[
        str | None,
        Meta(description="File of API keys (YAML or JSON), as `nextbest key create` prints them."),
    ] = None
    allowed_hosts: Annotated[
        str | None,
        Meta(
            description="Names of the server that a request's Host may have, with commas between "
            "them. Left out: any where there are API keys, else localhost and loopback addresses."
        ),
    ] = None
    timeout_ms: Annotated[
        int,
        Meta(
            description="A decision's deadline where the request names none; past it, a fallback.",
            ge=1,
        ),
    ] = 1000
    max_body_bytes: Annotated[int, Meta(description="Largest body of one request.", ge=1024)] = (
        1024 * 1024
    )
    max_batch_bytes: Annotated[
        int,
        Meta(
            description="Largest body of a batch; a line may have NEXTBEST_MAX_BODY_BYTES.", ge=1024
        ),
    ] = 64 * 1024 * 1024
    max_events: Annotated[int, Meta(description="Most events in one request.", ge=1)] = 1000
    batch_concurrency: Annotated[
        int, Meta(description="Decisions of one batch that are made at once.", ge=1, le=1024)
    ] = 16
    max_batches: Annotated[
        int, Meta(description="Batches that a worker answers at once; more are refused.", ge=1)
    ] = 32
    body_timeout_ms: Annotated[
        int,
        Meta(
            description="How long a request's head or body may take to arrive. A batch may take "
            "longer, at 100 bytes per second or more.",
            ge=100,
        ),
    ] = 10_000
    write_timeout_ms: Annotated[
        int,
        Meta(
            description="How long a client may leave its answer unread before it is cut off.",
            ge=100,
        ),
    ] = 30_000
    max_connections: Annotated[
        int,
        Meta(
            description="Connections open at once, per worker; fewer where the system allows a "
            "process fewer files.",
            ge=1,
        ),
    ] = 10_000
    max_bytes_in_flight: Annotated[
        int,
        Meta(
            description="Bytes of requests that a worker holds at once, with what they become when "
            "decoded; half of them is for batches. Beyond it, requests of more than 8 KB get a 503 "
            "and lines of batches wait.",
            ge=1024 * 1024,
        ),
    ] = 64 * 1024 * 1024
    connections_per_ip: Annotated[
        int,
        Meta(
            description="Of these, how many from one address other than this machine. A proxy "
            "counts as one address.",
            ge=1,
        ),
    ] = 2_000
    shutdown_timeout_ms: Annotated[
        int, Meta(description="How long requests in hand may take when the server stops.", ge=0)
    ] = 20_000
    watch: Annotated[bool, Meta(description="Reload the rules when a file of theirs changes.")] = (
        False
    )
    archive: Annotated[
        str | None,
        Meta(description="Folder that `nextbest archive` writes: older decisions are found there."),
    ] = None
    log_limit_mb: Annotated[
        int,
        Meta(
            description="Memory that the log may take in Redis while no archive takes it, in MB, "
            "and at most half of Redis' maxmemory; beyond it the oldest entries go. 0: no limit.",
            ge=0,
        ),
    ] = 256
    seed: Annotated[
        str | None, Meta(description="Makes exploration repeatable: for tests and replays only.")
    ] = None
    lowercase_emails: Annotated[
        bool,
        Meta(
            description="Read and keep aliases of the type email in lower case, everywhere; load "
            "customers again after setting it."
        ),
    ] = False
    erasure_rewrite_hours: Annotated[
        int,
        Meta(
            description="After an erasure, Redis' append-only file is rewritten, at most once in "
            "this many hours: so long, at most, the customer can be read in it. 0: never.",
            ge=0,
            le=8760,
        ),
    ] = 24
    key_prefix: Annotated[str, Meta(description="What every Redis key starts with.")] = "nb:"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least level that is logged."),
    ] = "info"
    log_format: Annotated[
        Literal["json", "console"], Meta(description="Log lines as json, or for people: console.")
    ] = "json"

    @property
    def host_names(self) -> frozenset[str] | None:
        """The names in `allowed_hosts`, in lower case; None where it is left out."""
        if self.allowed_hosts is None:
            return None
        names = (name.strip().lower() for name in self.allowed_hosts.split(","))
        return frozenset(name.strip("[]").removesuffix(".") for name in names if name)


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


def read_settings(environ: Mapping[str, str] | None = None, **given: object) -> ServerSettings:
    """Settings from `NEXTBEST_*` variables; what is `given` and not None goes before them.

    A variable that is set to nothing counts as left out.

    Raises:
        SettingsError: a value cannot be one of that setting.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    for setting in SETTINGS:
        value: object = environ.get(setting.name) or None
        if given.get(setting.field) is not None:
            value = given[setting.field]
        if value is None:
            continue
        if setting.type is bool and isinstance(value, str):
            value = _flag(setting, value)
        try:
            checked = msgspec.convert({setting.field: value}, ServerSettings, strict=False)
        except msgspec.ValidationError as error:
            reason = str(error).split(" - at ")[0].replace("`", "")
            if reason.startswith("Expected int"):
                reason = _whole_number(reason)
            if setting.choices:
                reason = "it is one of " + ", ".join(setting.choices)
            raise SettingsError(f"{setting.name} is {value!r}: {reason}") from None
        values[setting.field] = getattr(checked, setting.field)
    return ServerSettings(**values)  # type: ignore[arg-type]


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """What to say of each `NEXTBEST_*` variable that nobody reads, with the nearest that is read.

    They are told and not refused: Kubernetes sets some for a service of the name nextbest.
    """
    environ = os.environ if environ is None else environ
    known = [*(setting.name for setting in SETTINGS), *_FOR_COMMANDS]
    found = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or _BY_OTHERS.fullmatch(name):
            continue
        near = get_close_matches(name[len(PREFIX) :], [one[len(PREFIX) :] for one in known], 1, 0.7)
        hint = (
            f"did you mean {PREFIX}{near[0]}?"
            if near
            else "nextbest serve --help lists all settings"
        )
        found.append(f"{name} is not a setting, and has no effect; {hint}")
    return found


def to_environ(settings: ServerSettings) -> dict[str, str]:
    """The variables that give these settings to another process; None is left out."""
    found = {}
    for setting in SETTINGS:
        value = getattr(settings, setting.field)
        if value is not None:
            found[setting.name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _whole_number(reason: str) -> str:
    """`Expected int >= 1`, in words."""
    bound = reason.removeprefix("Expected int").partition(",")[0].strip()
    for sign, word in ((">= ", "at least "), ("<= ", "at most ")):
        if bound.startswith(sign):
            return f"it must be {word}{bound.removeprefix(sign)}"
    return "it must be a whole number"


def _flag(setting: Setting, value: str) -> bool:
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise SettingsError(f"{setting.name} is {value!r}: it is true or false")


@functools.lru_cache(1024)
def is_loopback_host(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine alone."""
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
