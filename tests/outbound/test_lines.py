"""What a sender logs can be read where logging is set up."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from decision.observability import configure_logging, named


@pytest.fixture
def stream() -> Iterator[StringIO]:
    root, own = logging.getLogger(), logging.getLogger("decision")
    before = (root.handlers[:], root.level, own.level)
    yield StringIO()
    root.handlers[:], level, own_level = before
    root.setLevel(level)
    own.setLevel(own_level)


@pytest.mark.parametrize(("level", "shown"), [("info", True), ("warning", False)])
def test_lines_of_a_module_are_shown_from_the_level_that_is_set(
    stream: StringIO, level: str, shown: bool
) -> None:
    configure_logging(level, stream=stream)  # type: ignore[arg-type]
    logging.getLogger("decision.outbound.logs").info("it waits", extra=named("delivery_retried"))
    logging.getLogger("httpx").info("of a library")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == (["delivery_retried"] if shown else [])
