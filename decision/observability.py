"""Logging, set up in one place: JSON lines on stderr, or text for people.

What is logged is about the machine and never about a person: no customer ids, bodies, attributes
or raw paths. Of an exception the type and the places are logged, not its text, which may quote
what somebody sent.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

Level = Literal["debug", "info", "warning", "error"]
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
_FRAMES = 30


_correlation: list[Callable[[], dict[str, str]]] = []


def correlate(ids: Callable[[], dict[str, str]]) -> None:
    """Names what adds the ids of the trace under way to every line that is logged."""
    _correlation[:] = [ids]


def _trace_ids(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for ids in _correlation:
        event.update(ids())
    return event


def named(event: str, **details: Any) -> dict[str, Any]:
    """`extra` for a line of the standard `logging`, which has a sentence as its message.

    Where logging is set up, the line's event is `event`, `details` are its keys and values, and the
    sentence is `problem`. Elsewhere people read the sentence.
    """
    return {"named": {"event": event, **details}}


def _named(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    details = getattr(event.get("_record"), "named", None)
    if details is not None:
        event["problem"] = event["event"]
        event.update(details)
    return event


def configure_logging(
    level: Level = "info",
    form: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
) -> None:
    """Sends everything that is logged, by us or by a library, through one formatter to `stream`.

    Calling it again replaces what was set up before.
    """
    chain: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _trace_ids,
        _exception_places,
    ]
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[*chain, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty())
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, _named, *chain],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for own in ("nextbest", "decision"):
        logging.getLogger(own).setLevel(number)
    logging.getLogger("nextbest.audit").setLevel(logging.INFO)
    # Its start and stop are ours to tell; it logs each request's address unless told not to.
    logging.getLogger("uvicorn").setLevel(max(number, logging.WARNING))
    logging.getLogger("uvicorn.access").disabled = True


def get_logger() -> structlog.stdlib.BoundLogger:
    """The project's logger; its events are snake_case words, its details keys and values."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("nextbest")
    return logger


def tell(event: str, text: str, **details: Any) -> None:
    """Logs a warning where logging is set up, as in a server; elsewhere says `text` on stderr.

    For what must be known also to those who run a command, which logs nothing.
    """
    if structlog.is_configured():
        get_logger().warning(event, **details)
    else:
        print(f"nextbest: {text}", file=sys.stderr, flush=True)


def log_audit(**details: Any) -> None:
    """Logs who changed what, as `audit`, whatever the least level is."""
    _audit.info("audit", **details)


_audit: structlog.BoundLogger = structlog.wrap_logger(
    logging.getLogger("nextbest.audit"), wrapper_class=structlog.BoundLogger
)


def _exception_places(
    logger: Any, name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replaces `exc_info` by the exception's type and where it came from, without its text."""
    info = event.pop("exc_info", None)
    if not info:
        return event
    found: _ExcInfo | tuple[None, None, None]
    if isinstance(info, BaseException):
        found = (type(info), info, info.__traceback__)
    elif isinstance(info, tuple):
        found = info
    else:
        found = sys.exc_info()
    if found[0] is None:
        return event
    event["exception"] = found[0].__qualname__
    event["places"] = [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(found[2], limit=-_FRAMES)
    ]
    return event
