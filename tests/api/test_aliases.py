"""`GET /v1/aliases/{type}/{value}`: the customer whom an alias leads to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from decision.core.schema import Alias, CustomerUpdate
from decision.engine import Engine, EngineSettings
from decision.observability import configure_logging
from decision.server.audit import entries
from decision.server.keys.entries import make_key
from decision.store import MemoryStore
from decision.store.pseudonyms import pseudonyms
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio

VALUES = (
    "li@example.com", "a+b@example.com", "a/b", "/", "//", "a b", "100%", "a%2Fb", "x?y#z", "..",
    "张三", "+86 138 0000 0000", "https://id.example/u?id=7&x=1", "é" * 256, "a:b", "*",
)  # fmt: skip


def path(kind: str, value: str) -> str:
    parts = [quote(part, safe="").replace(".", "%2E") for part in (kind, value)]
    return f"/v1/aliases/{parts[0]}/{parts[1]}"


async def claim(api: Api, customer: str, kind: str, value: str) -> None:
    body = {"aliases": {kind: value}}
    answer = await api.client.put(f"/v1/customers/{quote(customer, safe='')}", json=body)
    assert answer.status_code == 200 and not answer.json().get("refused_aliases"), answer.text


async def found(api: Api, kind: str, value: str) -> Any:
    answer = await api.client.get(path(kind, value))
    return answer.json() if answer.status_code == 200 else answer.status_code


@pytest.mark.parametrize("kind", ["email", "a/b:c %", "微信"])
async def test_any_value_and_type_is_found_as_it_was_claimed(api: Api, kind: str) -> None:
    for number, value in enumerate(VALUES):
        await claim(api, f"c-{number}", kind, value)
    for number, value in enumerate(VALUES):
        assert await found(api, kind, value) == {"customer_id": f"c-{number}"}
        assert len(value) == 256 or await found(api, kind, f" {value}\xa0") == {
            "customer_id": f"c-{number}"
        }
        assert await found(api, kind + "x", value) == 404


async def test_a_plus_sign_is_one_also_where_it_is_not_encoded(api: Api) -> None:
    await claim(api, "c-1", "email", "a+b@x.cn")
    answer = await api.client.get("/v1/aliases/email/a+b@x.cn")
    assert answer.json() == {"customer_id": "c-1"}


async def test_it_is_whom_a_decision_with_the_alias_is_for_merged_forgotten_or_erased(
    api: Api,
) -> None:
    async def decided_for(value: str) -> str:
        alias = {"type": "cookie", "value": value}
        customer: str = (await api.decide(alias=alias, dry_run=True)).json()["customer_id"]
        return customer

    assert await found(api, "cookie", "k-1") == 404
    event = {"id": "v", "alias": {"type": "cookie", "value": "k-1"}, "type": "view"}
    await api.client.post("/v1/events", json={"events": [event]})
    assert await found(api, "cookie", "k-1") == {"customer_id": await decided_for("k-1")}
    await claim(api, "c-1", "cookie", "k-1")
    assert await found(api, "cookie", "k-1") == {"customer_id": "c-1"}
    await api.client.put("/v1/customers/c-2", json={"attributes": {"a": 1}})
    await api.client.post("/v1/customers/c-2/merge", json={"from": "c-1"})
    assert await found(api, "cookie", "k-1") == {"customer_id": "c-2"}
    await api.client.put("/v1/customers/c-2", json={"aliases": {"cookie": None}})
    assert await found(api, "cookie", "k-1") == {"customer_id": await decided_for("k-1")}
    await claim(api, "c-2", "email", "li@x.cn")
    await api.client.delete("/v1/customers/c-2")
    assert [await found(api, "email", "li@x.cn"), await found(api, "cookie", "k-1")] == [404, 404]


async def test_letters_of_addresses_are_as_the_setting_says(rules: Path) -> None:
    async with running(rules) as api:
        await claim(api, "c-1", "email", "Li@X.cn")
        assert await found(api, "email", "li@x.cn") == 404
    engine = Engine(MemoryStore(), EngineSettings(lowercase_emails=True))
    async with running(rules) as api:
        engine.use(api.engine.snapshot)
        await engine.customers.update("c-1", CustomerUpdate(aliases={"email": "Li@X.cn"}))
        assert await engine.customers.find(Alias("email", "LI@x.cn")) == "c-1"


@pytest.mark.parametrize("bad", ["null", "undefined", "%00", "%0A", "%20", "%FF", "a" * 257])
async def test_what_cannot_be_an_alias_is_refused(api: Api, bad: str) -> None:
    assert (await api.client.get(f"/v1/aliases/email/{bad}")).status_code == 400
    assert (await api.client.get(f"/v1/aliases/{bad}/x")).status_code == 400


async def test_a_look_is_recorded_with_the_key_and_whom_it_found_and_nothing_says_the_value(
    rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, entry = make_key("support-desk", ["customers"])
    keys = tmp_path / "keys.yaml"
    keys.write_text(json.dumps([msgspec.to_builtins(entry)]))
    async with running(rules, api_keys_file=str(keys), log_level="debug") as api:
        configure_logging("debug")
        assert (await api.client.get(path("email", "li@x.cn"))).status_code == 401
        api.client.headers["authorization"] = f"Bearer {secret}"
        await claim(api, "c-1", "email", "li@x.cn")
        assert await found(api, "email", "li@x.cn") == {"customer_id": "c-1"}
        assert await found(api, "email", "bo@x.cn") == 404
        [one] = await entries(api.engine.runtime.store)
        assert (one.action, one.by, one.result) == ("customer.find", "support-desk", "done")
        assert one.target == (await pseudonyms(api.engine.runtime.store)).of("c-1")
    said = capsys.readouterr().err
    assert "customer.find" in said
    assert "x.cn" not in said and "x%2" not in said


async def test_the_scope_of_customers_is_needed(rules: Path, tmp_path: Path) -> None:
    for scopes, status in ((["customers.read", "admin", "decide"], 403), (["customers"], 404)):
        secret, entry = make_key("app", scopes)
        keys = tmp_path / "keys.yaml"
        keys.write_text(json.dumps([msgspec.to_builtins(entry)]))
        async with running(rules, api_keys_file=str(keys)) as api:
            api.client.headers["authorization"] = f"Bearer {secret}"
            assert (await api.client.get(path("email", "li@x.cn"))).status_code == status
