"""A server that does not send itself says at its start what keeps the gateways file from being sent with."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest

from decision.observability import configure_logging
from decision.server.gateways_file import tell_of_gateways
from decision.server.settings import ServerSettings

FILE = """gateways:
  hook: {type: webhook, url: "https://shop.example/in", secret: "${HOOK_SECRET}"}
channels: {push: hook}
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is logged of a file with this text."""
    monkeypatch.delenv("HOOK_SECRET", raising=False)

    def look(text: str | None, *, outbound: bool = False) -> list[tuple[str, str]]:
        path = tmp_path / "gateways.yaml"
        if text is not None:
            path.write_text(text)
        stream = StringIO()
        configure_logging("info", stream=stream)
        tell_of_gateways(ServerSettings(gateways=str(path), outbound=outbound))
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [(line["event"], f"{line['place']} {line['problem']}") for line in lines]

    return look


def test_a_secret_that_is_not_set_is_named(told) -> None:
    ((event, said),) = told(FILE)
    assert event == "gateways_file_incomplete"
    assert "gateways.yaml:2:" in said and "HOOK_SECRET" in said


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "No such file"),
        (FILE.replace("webhook", "web"), "webhook"),
        (FILE.replace("push: hook", "push: hok"), 'did you mean "hook"?'),
    ],
)
def test_what_is_wrong_with_the_file_is_a_warning(told, text: str | None, part: str) -> None:
    lines = told(text)
    assert ("gateways_file_wrong", True) in [(event, part in said) for event, said in lines]


def test_one_that_is_right_or_that_is_checked_by_the_sender_beside_is_not_told(
    told, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(FILE, outbound=True) == []
    monkeypatch.setenv("HOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert told(FILE) == []
