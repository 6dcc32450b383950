"""Calls that change something for good leave an entry: who, what, and what became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.core.errors import StoreUnavailable
from decision.observability import configure_logging
from decision.server.audit import AuditEntry, LastPseudonyms, audit, entries, entry_of
from decision.server.keys.entries import make_key
from decision.store import MemoryStore
from decision.store.pseudonyms import pseudonyms
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in lines if line["event"] == "audit"]


async def kept(api: Api) -> list[AuditEntry]:
    return await entries(api.engine.runtime.store)


async def test_each_change_is_logged_and_kept_with_the_key_s_name_and_no_id(
    rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("error")  # the least level does not hide it
    secret, entry = make_key("support-desk", ["customers", "admin"])
    path = tmp_path / "keys.yaml"
    path.write_text(json.dumps([msgspec.to_builtins(entry)]))
    async with running(rules, api_keys_file=str(path)) as api:
        api.client.headers["authorization"] = f"Bearer {secret}"
        await api.client.put("/v1/customers/li%40mail.cn", json={"attributes": {"a": 1}})
        await api.client.put("/v1/customers/anon-9", json={"attributes": {"a": 1}})
        await api.consent("li%40mail.cn")
        headers = {"x-request-id": "r-merge"}
        body = {"from": "anon-9"}
        merged = await api.client.post(
            "/v1/customers/li%40mail.cn/merge", json=body, headers=headers
        )
        assert merged.status_code == 200
        assert (await api.client.post("/v1/policy/reload")).status_code == 200
        assert (await api.client.delete("/v1/customers/li%40mail.cn")).status_code == 204
        names = await pseudonyms(api.engine.runtime.store)
        found = await kept(api)
    lines = logged(capsys)
    wanted = ["customer.consents", "customer.merge", "policy.reload", "customer.erase"]
    assert [line["action"] for line in lines] == wanted
    assert [one.action for one in found] == wanted[1:]
    assert {line["by"] for line in lines} == {"support-desk"} == {one.by for one in found}
    assert {line["result"] for line in lines} == {"done"}
    assert lines[1]["request_id"] == "r-merge" == found[0].request_id
    assert lines[1]["target"] == names.of("li@mail.cn") == found[2].target
    assert lines[1]["source"] == names.of("anon-9")
    assert "li@mail.cn" not in str(lines) + str(found)
    assert "anon-9" not in str(lines) + str(found)


async def test_what_is_refused_to_a_key_is_recorded_and_a_stranger_leaves_nothing(
    rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("error")
    secret, entry = make_key("app", ["decide"])
    path = tmp_path / "keys.yaml"
    path.write_text(json.dumps([msgspec.to_builtins(entry)]))
    async with running(rules, api_keys_file=str(path)) as api:
        assert (await api.client.delete("/v1/customers/c-1")).status_code == 401
        headers = {"authorization": f"Bearer {secret}"}
        assert (await api.client.delete("/v1/customers/c-1", headers=headers)).status_code == 403
    [line] = logged(capsys)
    assert (line["action"], line["by"], line["result"]) == ("customer.erase", "app", "refused")


async def test_without_keys_it_is_this_machine_and_a_refused_policy_is_told(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("error")
    (api.rules / "policy.yaml").write_text("nonsense: 1")
    assert (await api.client.post("/v1/policy/reload")).status_code == 409
    [line] = logged(capsys)
    assert (line["by"], line["result"]) == ("local", "refused")
    assert await kept(api) == []  # who may call could push everything else out


async def test_a_store_that_does_not_answer_does_not_keep_the_entry_from_the_log(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("error")

    async def gone(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    names = await pseudonyms(api.engine.runtime.store)
    monkeypatch.setattr(api.engine.runtime.store, "history", gone)
    monkeypatch.setattr(api.engine.runtime.store, "append_history", gone)
    await api.consent("c-1")
    assert (await api.client.post("/v1/policy/reload")).status_code == 200
    consents, reload = logged(capsys)
    assert (consents["action"], consents.get("target")) == ("customer.consents", names.of("c-1"))
    assert (reload["action"], reload["result"]) == ("policy.reload", "done")


@pytest.mark.parametrize("route", ["DELETE /v1/customers/c-1", "POST /v1/customers/c-1/merge"])
async def test_a_change_that_fails_without_the_store_names_whom_it_was_about(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    configure_logging("error")
    store = api.engine.runtime.store
    names = await pseudonyms(store)

    async def gone(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    for call in ("history", "append_history", "read", "commit", "erase"):
        monkeypatch.setattr(store, call, gone)
    method, path = route.split()
    body = {"from": "c-2"} if method == "POST" else None
    assert (await api.client.request(method, path, json=body)).status_code == 503
    [line] = logged(capsys)
    assert (line["result"], line["target"]) == ("failed", names.of("c-1"))
    assert line.get("source") == (names.of("c-2") if body else None)


async def test_where_the_store_has_never_answered_the_target_is_said_to_be_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("error")

    class Gone(MemoryStore):
        async def history(self, *_: object, **__: object) -> list[bytes]:
            raise StoreUnavailable("gone")

    entry = entry_of("customer.erase", "local", "failed")
    await audit(Gone(), LastPseudonyms(Gone()), entry, customer="c-1")
    [line] = logged(capsys)
    assert line["target"] == "unknown"
