"""Consents over HTTP: the key is their source, and evidence is shown to whom it may be."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from decision.server.keys.entries import make_key
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio


async def test_a_key_is_the_source_of_what_names_none_and_evidence_needs_the_whole_scope(
    rules: Path, tmp_path: Path
) -> None:
    made = [make_key("desk-3", ["customers"]), make_key("reader", ["customers.read"])]
    keys = tmp_path / "keys.yaml"
    keys.write_text(json.dumps([msgspec.to_builtins(entry) for _, entry in made]))
    said = {"state": "granted", "at": "2026-01-02T03:04:05+08:00", "evidence": "box 3"}
    async with running(rules, api_keys_file=str(keys)) as api:
        shown = []
        for secret, _ in made:
            api.client.headers["authorization"] = f"Bearer {secret}"
            body = {
                "marketing": {"email": said, "*": "denied", "push": {**said, "source": "form-7"}}
            }
            answer = await api.client.put("/v1/customers/c-1/consents", json=body)
            assert answer.status_code in (200, 403)
            shown.append((await api.client.get("/v1/customers/c-1")).json())
    full, partly = shown
    stated = full["consents"]["marketing"]["*"]
    assert (stated["state"], stated["source"]) == ("denied", "desk-3")
    email, push = full["consents"]["marketing"]["email"], full["consents"]["marketing"]["push"]
    assert (email["state"], email["source"], push["source"]) == ("granted", "desk-3", "form-7")
    assert email["at"] == "2026-01-01T19:04:05Z"
    assert "evidence" not in json.dumps(partly["consents"])


async def test_evidence_is_hidden_where_values_are(rules: Path, tmp_path: Path) -> None:
    made = [make_key("desk-3", ["customers"]), make_key("reader", ["customers.read"])]
    keys = tmp_path / "keys.yaml"
    keys.write_text(json.dumps([msgspec.to_builtins(entry) for _, entry in made]))
    said = {"state": "granted", "at": "2026-01-02T03:04:05+08:00", "evidence": "box 3"}
    async with running(rules, api_keys_file=str(keys)) as api:
        shown = []
        for secret, _ in made:
            api.client.headers["authorization"] = f"Bearer {secret}"
            body = {"marketing": {"email": said}}
            await api.client.put("/v1/customers/c-1/consents", json=body)
            shown.append((await api.client.get("/v1/customers/c-1")).json())
    full, partly = (one["consents"]["marketing"]["email"] for one in shown)
    whole = {"state": "granted", "at": "2026-01-01T19:04:05Z", "source": "desk-3"}
    assert full == {**whole, "evidence": "box 3"}
    assert partly == whole
    assert "consents.evidence" in shown[1]["hidden"]


async def test_without_keys_the_source_is_the_api(api: Api) -> None:
    await api.consent()
    found = (await api.client.get("/v1/customers/c-1")).json()["consents"]["marketing"]["*"]
    assert found["source"] == "api"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"evidence": "x" * 4097}, "marketing.email.evidence"),
        ({"source": "x" * 129}, "marketing.email.source"),
        ({"at": "2036-01-01T00:00:00Z"}, "marketing.email.at"),
        ({"at": "2026-01-01T00:00:00"}, "marketing.email.at"),
        ({"proof": "x"}, "marketing.email"),
    ],
)
async def test_a_statement_that_cannot_be_is_refused_with_its_place(
    api: Api, said: dict[str, str], field: str
) -> None:
    body = {"marketing": {"email": {"state": "granted", **said}}}
    answer = await api.client.put("/v1/customers/c-1/consents", json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"].startswith(field)
