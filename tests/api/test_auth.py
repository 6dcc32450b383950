"""Keys and scopes; and without keys, this machine alone."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from decision.api.auth import Authenticator
from decision.api.problems import Problem
from decision.core.errors import StoreUnavailable
from decision.server import workers as server
from decision.server.keys.entries import SCOPES, load_keys, make_key
from decision.server.settings import ServerSettings, SettingsError, is_loopback_host
from decision.server.settings_reading import read_settings
from tests.api.conftest import Api, running
from tests.api.test_bad_input import problem_of

pytestmark = pytest.mark.anyio

DECISION = {"customer_id": "c-1", "placement": "app_home"}
CALLS: list[tuple[str, str, str, Any]] = [
    ("decide", "POST", "/v1/decisions", DECISION),
    ("decide", "GET", "/v1/decisions/01KAK0V4R0GZ8M4T1S8Q2W5X7C", None),
    ("decide", "POST", "/ofrep/v1/evaluate/flags/app_home", {}),
    ("decide", "POST", "/ofrep/v1/evaluate/flags", {}),
    ("events", "POST", "/v1/events", {"events": []}),
    ("customers", "GET", "/v1/customers/c-1", None),
    ("customers", "PUT", "/v1/customers/c-1", {}),
    ("customers", "DELETE", "/v1/customers/c-1", None),
    ("customers", "PUT", "/v1/customers/c-1/consents", {}),
    ("customers", "POST", "/v1/customers/c-1/merge", {"from": "c-2"}),
    ("admin", "GET", "/v1/policy", None),
    ("admin", "POST", "/v1/policy/reload", None),
    ("admin", "GET", "/metrics", None),
    ("reports", "GET", "/v1/reports/funnel", None),
]
READ = ("customers.read", "GET", "/v1/customers/c-1")
"""What this scope allows, although another is asked for."""


def keys_file(folder: Path) -> tuple[str, dict[str, str]]:
    """A file with a key for each scope, and the secrets."""
    secrets, entries = {}, []
    for scope in SCOPES:
        secrets[scope], entry = make_key(f"for-{scope}", [scope])
        entries.append(msgspec.to_builtins(entry))
    path = folder / "keys.yaml"
    path.write_text(json.dumps(entries))
    return str(path), secrets


async def call(api: Api, method: str, path: str, body: Any, secret: str | None) -> httpx.Response:
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    return await api.client.request(method, path, json=body, headers=headers)


async def test_each_route_needs_its_scope_and_no_other(rules: Path, tmp_path: Path) -> None:
    path, secrets = keys_file(tmp_path)
    async with running(rules, peer="203.0.113.7", api_keys_file=path) as api:
        for needed, method, route, body in CALLS:
            for scope, secret in secrets.items():
                answer = await call(api, method, route, body, secret)
                if scope == needed or (scope, method, route) == READ:
                    assert answer.status_code not in (401, 403), (route, answer.text)
                else:
                    problem = problem_of(answer, 403)
                    assert needed in problem["detail"]
                    assert "insufficient_scope" in answer.headers["www-authenticate"]


async def test_batches_need_the_scope_too(rules: Path, tmp_path: Path) -> None:
    path, secrets = keys_file(tmp_path)
    async with running(rules, api_keys_file=path) as api:
        headers = {"content-type": "application/x-ndjson"}
        answer = await api.client.post("/v1/decisions/batch", content=b"", headers=headers)
        problem_of(answer, 401)
        headers["authorization"] = f"Bearer {secrets['decide']}"
        answer = await api.client.post("/v1/decisions/batch", content=b"", headers=headers)
        assert answer.status_code == 200


async def test_without_a_known_key_nothing_but_health_is_answered(
    rules: Path, tmp_path: Path
) -> None:
    path, secrets = keys_file(tmp_path)
    async with running(rules, peer="203.0.113.7", api_keys_file=path) as api:
        for _, method, route, body in CALLS:
            bad = [None, "", "wrong", secrets["admin"][:-1], secrets["admin"] + "x", "é" * 40]
            for secret in bad:
                header = {} if secret is None else {"authorization": f"Bearer {secret}".encode()}
                answer = await api.client.request(method, route, json=body, headers=header)
                problem_of(answer, 401)
                assert answer.headers["www-authenticate"].startswith('Bearer realm="nextbest"')
            basic = {"authorization": f"Basic {secrets['admin']}"}
            answer = await api.client.request(method, route, json=body, headers=basic)
            assert answer.status_code == 401
        for open_route in ("/health/live", "/health/ready", "/schema", "/schema/openapi.json"):
            assert (await api.client.get(open_route)).status_code == 200


async def test_metrics_need_no_key_from_this_machine(rules: Path, tmp_path: Path) -> None:
    path, _ = keys_file(tmp_path)
    async with running(rules, api_keys_file=path) as api:
        assert (await api.client.get("/metrics")).status_code == 200
        assert (await api.client.get("/v1/policy")).status_code == 401


@pytest.mark.parametrize(
    "peer", ["203.0.113.7", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "testclient"]
)
async def test_without_keys_other_machines_are_refused(rules: Path, peer: str) -> None:
    async with running(rules, peer=peer) as api:
        for _, method, route, body in CALLS:
            problem = problem_of(await call(api, method, route, body, None), 403)
            assert "NEXTBEST_API_KEYS_FILE" in problem["detail"]
        assert (await api.client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", ""])
async def test_without_keys_this_machine_may_call(rules: Path, peer: str) -> None:
    async with running(rules, peer=peer) as api:
        assert (await api.client.get("/v1/policy")).status_code == 200


FORWARDED = [
    ("X-Forwarded-For", "203.0.113.7"),
    ("x-forwarded-for", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1"),
    ("X-Forwarded-Host", "shop.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Real-IP", "203.0.113.7"),
    ("Via", "1.1 proxy"),
]


@pytest.mark.parametrize("header", FORWARDED)
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", ""])
async def test_what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine(
    rules: Path, tmp_path: Path, peer: str, header: tuple[str, str]
) -> None:
    """Whatever it has made of the Host: by default nginx sends the address that it calls."""
    headers = dict([header])
    async with running(rules, peer=peer) as api:
        for _, method, route, body in CALLS:
            answer = await api.client.request(method, route, json=body, headers=headers)
            detail = problem_of(answer, 403)["detail"]
            assert header[0].title() in detail and "nextbest key create" in detail
        batch = await api.client.post(
            "/v1/decisions/batch",
            content=json.dumps(DECISION),
            headers={**headers, "content-type": "application/x-ndjson"},
        )
        assert batch.status_code == 403
        assert (await api.client.get("/health/ready", headers=headers)).status_code == 200
    path, secret = key_with(tmp_path, "admin")
    async with running(rules, peer=peer, api_keys_file=path) as api:
        assert (await api.client.get("/metrics")).status_code == 200
        assert (await api.client.get("/metrics", headers=headers)).status_code == 401
        headers["authorization"] = f"Bearer {secret}"
        assert (await api.client.get("/metrics", headers=headers)).status_code == 200


async def test_without_keys_web_pages_elsewhere_may_not_call(rules: Path) -> None:
    async with running(rules) as api:
        for origin in (
            "https://evil.example",
            "http://evil.example:8000",
            "null",
            "http://[2001:db8::1]:80",
        ):
            answer = await api.client.get("/v1/policy", headers={"origin": origin})
            problem_of(answer, 403)
        for origin in (
            "http://localhost:8000",
            "http://127.0.0.1",
            "http://[::1]:8000",
            "http://[::1]",
        ):
            answer = await api.client.get("/v1/policy", headers={"origin": origin})
            assert answer.status_code == 200, origin


async def test_new_keys_are_taken_while_running(rules: Path, tmp_path: Path) -> None:
    path, _ = keys_file(tmp_path)
    async with running(rules, api_keys_file=path) as api:
        secret, entry = make_key("new", ["admin"])
        assert (await call(api, "GET", "/v1/policy", None, secret)).status_code == 401
        Path(path).write_text(json.dumps([msgspec.to_builtins(entry)]))
        os.utime(path, (1, 1))
        answer = None
        async with asyncio.timeout(20):
            while answer is None or answer.status_code != 200:
                answer = await call(api, "GET", "/v1/policy", None, secret)
                await asyncio.sleep(0.05)
        Path(path).write_text("- nonsense")
        os.utime(path, (2, 2))
        assert (await call(api, "GET", "/v1/policy", None, secret)).status_code == 200


def test_a_key_is_random_and_only_its_hash_is_kept() -> None:
    secrets = {make_key("a", ["decide"])[0] for _ in range(100)}
    assert len(secrets) == 100
    secret, entry = make_key("a", ["decide", "events"])
    assert len(secret) >= 43
    assert secret not in msgspec.json.encode(entry).decode()
    assert entry.scopes == ["decide", "events"]


@pytest.mark.parametrize(("name", "scopes"), [("a", []), ("a", ["decides"]), ("", ["decide"])])
def test_a_key_without_name_or_known_scopes_is_refused(name: str, scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="decide, events, customers, admin"):
        make_key(name, scopes)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not a list of keys"),
        ("[]", "has no keys"),
        ("{", "not YAML"),
        ("- {name: a, sha256: short, scopes: [decide]}", "sha256"),
        ("- {name: a, scopes: [decide]}", "sha256"),
        ("- {name: a, sha256: '" + "0" * 64 + "', scopes: []}", "length"),
        ("- {name: a, sha256: '" + "0" * 64 + "', scopes: [root]}", "root"),
        ("- {name: a, sha256: '" + "0" * 64 + "', scopes: [decide], x: 1}", "unknown field x"),
        (("- {name: a, sha256: '" + "0" * 64 + "', scopes: [decide]}\n") * 2, "twice"),
        ("\x00", "not YAML"),
    ],
)
def test_a_keys_file_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, text: str, word: str
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match="keys file") as found:
        load_keys(path)
    assert word in str(found.value)


def test_a_keys_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_keys(tmp_path / "keys.yaml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_without_keys_the_server_does_not_start_on_another_address(rules: Path, host: str) -> None:
    with pytest.raises(server.StartRefused, match="NEXTBEST_API_KEYS_FILE"):
        server.check(ServerSettings(host=host, rules=str(rules)))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_is_loopback(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize("url", ["http://x", "localhost:6379", "redis://h:notaport/0"])
def test_a_redis_url_that_is_none_is_refused_before_there_are_workers(
    rules: Path, url: str
) -> None:
    """A worker that ends at its start is started again by the supervisor, for ever."""
    with pytest.raises(StoreUnavailable, match="NEXTBEST_REDIS_URL"):
        server.check(ServerSettings(redis_url=url, rules=str(rules)))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NEXTBEST_PORT", "abc", "must be a whole number"),
        ("NEXTBEST_WORKERS", "0", "must be at least 1"),
        ("NEXTBEST_PORT", "70000", "must be at most 65535"),
    ],
)
def test_a_number_that_is_none_is_refused_in_words(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{value}': it {words}"):
        read_settings({name: value})


def key_with(folder: Path, *scopes: str, **fields: Any) -> tuple[str, str]:
    """A file with one key of these scopes, and the secret."""
    secret, entry = make_key("one", scopes, **fields)
    path = folder / "keys.yaml"
    path.write_text(json.dumps([msgspec.to_builtins(entry)]))
    return str(path), secret


async def test_a_reader_sees_how_a_customer_stands_and_not_who_it_is(
    rules: Path, tmp_path: Path
) -> None:
    reader, entry = make_key("reader", ["customers.read"])
    writer, other = make_key("writer", ["customers"])
    both, third = make_key("both", ["customers.read", "customers"])
    path = tmp_path / "keys.yaml"
    path.write_text(json.dumps([msgspec.to_builtins(one) for one in (entry, other, third)]))
    body = {"attributes": {"first_name": "Mei-Secret"}, "aliases": {"email": "mei@secret.example"}}
    async with running(rules, api_keys_file=str(path)) as api:
        await call(api, "PUT", "/v1/customers/anon-secret", {"attributes": {"x": 1}}, writer)
        await call(api, "PUT", "/v1/customers/c-1", body, writer)
        consents = {"marketing": {"email": "granted"}}
        await call(api, "PUT", "/v1/customers/c-1/consents", consents, writer)
        await call(api, "POST", "/v1/customers/c-1/merge", {"from": "anon-secret"}, writer)
        seen = await call(api, "GET", "/v1/customers/c-1", None, reader)
        assert seen.status_code == 200
        assert "secret" not in seen.text.lower()
        found = seen.json()
        assert found["hidden"] == ["attributes", "aliases", "merged"]
        assert found["consents"]["marketing"]["email"]["state"] == "granted"
        assert found["state"] == "other"
        for secret in (writer, both):
            whole = (await call(api, "GET", "/v1/customers/c-1", None, secret)).json()
            assert whole["attributes"]["first_name"] == "Mei-Secret"
            assert "hidden" not in whole
        for method, route, body in (
            ("PUT", "/v1/customers/c-1", {}),
            ("DELETE", "/v1/customers/c-1", None),
            ("PUT", "/v1/customers/c-1/consents", {}),
            ("POST", "/v1/customers/c-1/merge", {"from": "c-2"}),
        ):
            problem_of(await call(api, method, route, body, reader), 403)


async def test_a_key_is_refused_from_its_end_on_and_told_why(rules: Path, tmp_path: Path) -> None:
    end = datetime.now(UTC)
    path, secret = key_with(tmp_path, "admin", expires=end + timedelta(days=1))
    async with running(rules, api_keys_file=path) as api:
        assert (await call(api, "GET", "/v1/policy", None, secret)).status_code == 200
    path, secret = key_with(tmp_path, "admin", expires=end - timedelta(seconds=1))
    async with running(rules, api_keys_file=path) as api:
        answer = await call(api, "GET", "/v1/policy", None, secret)
        assert "has expired" in problem_of(answer, 401)["detail"]
        assert "invalid_token" in answer.headers["www-authenticate"]
        unknown = await call(api, "GET", "/v1/policy", None, secret + "x")
        assert "expired" not in problem_of(unknown, 401)["detail"]


@pytest.mark.parametrize(
    ("written", "end"),
    [
        ("2027-01-01", "2027-01-01T00:00:00+00:00"),
        ('"2027-01-01"', "2027-01-01T00:00:00+00:00"),
        ("2027-01-01T08:00:00+08:00", "2027-01-01T00:00:00+00:00"),
        ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00+00:00"),
        ("null", None),
    ],
)
def test_an_end_is_a_date_or_a_time_with_an_offset(
    tmp_path: Path, written: str, end: str | None
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"- {{name: a, sha256: '{'0' * 64}', scopes: [decide], expires: {written}}}")
    [key] = load_keys(path)
    assert key.expires == (None if end is None else datetime.fromisoformat(end))


@pytest.mark.parametrize("written", ["2027-01-01T00:00:00", "2027-13-01", "soon", "20270101", "1"])
def test_an_end_that_is_none_is_refused(tmp_path: Path, written: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"- {{name: a, sha256: '{'0' * 64}', scopes: [decide], expires: {written}}}")
    with pytest.raises(SettingsError, match="expires"):
        load_keys(path)


LOCAL_HOSTS = [
    *("localhost", "LOCALHOST", "localhost:8316", "localhost.", "localhost.:80", "127.0.0.1"),
    *("127.0.0.1:1", "127.9.9.9:8000", "[::1]", "[::1]:8000", "localhost:"),
]
OTHER_HOSTS = [
    *("evil.example", "evil.example:8316", "EVIL.example.", "localhost.evil.example", "127.0.0.1x"),
    *("127.0.0.1.evil.example", "[2001:db8::1]:80", "10.0.0.1", "0.0.0.0", "", ":8000", "[::1"),
    *("localhost:80:80", "localhost@evil.example", "evil.example@localhost", "localhost:x", "::1"),
]


@pytest.mark.parametrize("host", LOCAL_HOSTS)
async def test_without_keys_a_name_of_this_machine_may_be_called(rules: Path, host: str) -> None:
    async with running(rules) as api:
        answer = await api.client.get("/v1/policy", headers={"host": host})
        assert answer.status_code == 200


@pytest.mark.parametrize("host", OTHER_HOSTS)
async def test_without_keys_no_other_name_is_answered_which_a_page_could_lead_here(
    rules: Path, tmp_path: Path, host: str
) -> None:
    async with running(rules) as api:
        for _, method, route, body in CALLS:
            answer = await api.client.request(method, route, json=body, headers={"host": host})
            assert "NEXTBEST_ALLOWED_HOSTS" in problem_of(answer, 403)["detail"]
        assert (await api.client.get("/health/live", headers={"host": host})).status_code == 200
    path, secret = key_with(tmp_path, "admin")
    async with running(rules, api_keys_file=path) as api:
        headers = {"host": host, "authorization": f"Bearer {secret}"}
        assert (await api.client.get("/v1/policy", headers=headers)).status_code == 200
        assert (await api.client.get("/metrics", headers={"host": host})).status_code == 401


async def test_names_can_be_allowed_and_then_hold_with_keys_as_well(
    rules: Path, tmp_path: Path
) -> None:
    allowed = "Shop.internal, [2001:db8::1],x.example."
    good = ["shop.internal", "SHOP.internal:80", "x.example", "localhost", "[2001:db8::1]:8000"]
    async with running(rules, allowed_hosts=allowed) as api:
        for host in good:
            answer = await api.client.get("/v1/policy", headers={"host": host})
            assert answer.status_code == 200, host
        problem_of(await api.client.get("/v1/policy", headers={"host": "evil.example"}), 403)
    path, secret = key_with(tmp_path, "admin")
    async with running(rules, api_keys_file=path, allowed_hosts=allowed) as api:
        key = {"authorization": f"Bearer {secret}"}
        for host in good:
            answer = await api.client.get("/v1/policy", headers={"host": host, **key})
            assert answer.status_code == 200, host
        answer = await api.client.get("/v1/policy", headers={"host": "evil.example", **key})
        assert "NEXTBEST_ALLOWED_HOSTS" in problem_of(answer, 403)["detail"]


def scope_of(*hosts: bytes, client: Any, server: Any) -> Any:
    headers = [(b"host", host) for host in hosts]
    return {"type": "http", "headers": headers, "client": client, "server": server, "state": {}}


def test_every_host_counts_none_is_refused_and_a_unix_socket_needs_none() -> None:
    open_to_all = Authenticator()
    peer, here = ("127.0.0.1", 40000), ("127.0.0.1", 8000)
    open_to_all.authorize(scope_of(b"localhost", client=peer, server=here), "admin")
    open_to_all.authorize(scope_of(b"x", client=None, server=("/run/n.sock", None)), "admin")
    open_to_all.authorize(scope_of(client=None, server=None), "admin")
    odd = ((b"evil.example#localhost",), (b"localhost/evil",), (b"localhost, evil.example",))
    for hosts in ((), (b"localhost", b"evil.example"), (b"evil.example", b"localhost"), *odd):
        with pytest.raises(Problem):
            open_to_all.authorize(scope_of(*hosts, client=peer, server=here), "admin")
    with pytest.raises(Problem):  # gone before it could be asked who it was
        open_to_all.authorize(scope_of(b"localhost", client=None, server=here), "admin")


def test_many_keys_cost_a_call_no_more_than_one() -> None:
    """A key is found by its hash, and not by looking at each."""
    secret, entry = make_key("last", ["admin"])
    others = [make_key(f"k{index}", ["decide"])[1] for index in range(3000)]
    authenticator = Authenticator([*others, entry])
    scope = scope_of(client=("203.0.113.7", 1), server=None)
    scope["headers"].append((b"authorization", b"Bearer " + secret.encode()))
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        authenticator.authorize(scope, "admin")
    finally:
        sys.setprofile(None)
    assert calls < 100
    assert scope["state"]["key"] == "last"
