"""A server that does not send itself says at its start what keeps the gateways file from being sent with."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import httpx
import pytest

from decision.api.app import create_app
from decision.engine import Engine
from decision.observability import configure_logging
from decision.rulebook.reader import load_files
from decision.server.gateways_file import delivery_cautions, refuse_gateways, tell_of_gateways
from decision.server.settings import ServerSettings, SettingsError
from decision.server.workers import check
from decision.store import MemoryStore


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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


REPORTS = """gateways:
  mail: {type: file, path: x, reports: {from: mailgun, secret: "${MAIL_KEY}"}}
  texts: {type: file, path: x, reports: {from: brevo, secret: short}}
  good: {type: file, path: x, reports: {from: brevo, secret: a-token-of-enough-characters}}
unsubscribe: {url: "https://m.example.com", secret: "${LINK_KEY}"}
"""


async def answers(path: Path, *routes: str) -> list[tuple[int, str]]:
    app = create_app(Engine(MemoryStore()), ServerSettings(gateways=str(path)))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        found = [await client.post(route, json={}) for route in routes]
    return [(one.status_code, one.text) for one in found]


@pytest.mark.anyio
async def test_a_server_starts_and_what_cannot_be_verified_is_503_with_the_reason(
    told, tmp_path: Path
) -> None:
    lines = told(REPORTS)
    assert {event for event, _ in lines} == {"gateways_file_wrong"}
    for part in ("MAIL_KEY", "/v1/hooks/mail answers 503", "/v1/hooks/texts", "/v1/unsubscribe"):
        assert any(part in said and "it starts" not in said for _, said in lines), (part, lines)
    hooks = [f"/v1/hooks/{name}" for name in ("mail", "texts", "good", "none")]
    found = await answers(tmp_path / "gateways.yaml", *hooks, "/v1/unsubscribe/x")
    assert [status for status, _ in found] == [503, 503, 401, 404, 503]
    assert "MAIL_KEY is not set" in found[0][1] and "16 characters" in found[1][1]
    definition = load_files({"rules.yaml": "purposes: {a: {consent: opt_out}}"}).definition
    if definition is not None:
        assert len(delivery_cautions(str(tmp_path / "gateways.yaml"), definition)) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("text", [None, "gateways: [", ""])
async def test_a_server_starts_with_a_file_that_cannot_be_read(
    told, tmp_path: Path, text: str | None
) -> None:
    assert told(text)
    routes = ("/v1/hooks/mail", "/v1/unsubscribe/x")
    found = await answers(tmp_path / "gateways.yaml", *routes)
    assert [status for status, _ in found] == [503, 503]


def test_a_server_that_sends_refuses_before_it_listens(tmp_path: Path) -> None:
    path = tmp_path / "gateways.yaml"
    path.write_text(REPORTS)
    with pytest.raises(SettingsError, match="MAIL_KEY"):
        refuse_gateways(ServerSettings(gateways=str(path), outbound=True))
    refuse_gateways(ServerSettings(gateways=str(path)))


def test_settings_that_no_worker_could_use_are_refused_before_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "gateways.yaml"
    path.write_text(REPORTS)
    for given in ({"gateways": str(path), "outbound": True}, {"segment_origins": "shop.example/x"}):
        with pytest.raises(SettingsError, match=r"NEXTBEST_(GATEWAYS|SEGMENT_ORIGINS): "):
            check(ServerSettings(**given))
    check(ServerSettings(gateways=str(path), segment_origins="https://shop.example"))
