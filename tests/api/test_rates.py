"""A key with a rate may call so often, and no more; others do not notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decision.server.keys.entries import load_keys, make_key
from decision.server.settings import SettingsError
from tests.api.conftest import Api, running
from tests.api.test_bad_input import problem_of

pytestmark = pytest.mark.anyio

SCOPES = ["decide", "events", "customers", "admin"]
BODY = {"customer_id": "c-1", "placement": "app_home"}


def keys_with(path: Path, **rates: str | None) -> dict[str, dict[str, str]]:
    """A file with a key for each name; name → headers."""
    headers, entries = {}, []
    for name, rate in rates.items():
        secret, entry = make_key(name, SCOPES)
        row = {"name": entry.name, "sha256": entry.sha256, "scopes": list(entry.scopes)}
        entries.append(row if rate is None else {**row, "rate": rate})
        headers[name] = {"authorization": f"Bearer {secret}"}
    path.write_text(json.dumps(entries))
    return headers


async def statuses(api: Api, headers: dict[str, str], count: int) -> list[int]:
    return [
        (await api.client.post("/v1/decisions", json=BODY, headers=headers)).status_code
        for _ in range(count)
    ]


async def test_a_key_beyond_its_rate_is_told_when_to_come_back(rules: Path, tmp_path: Path) -> None:
    given = keys_with(tmp_path / "keys", busy="3/hour", other="3/hour", free=None)
    async with running(rules, api_keys_file=str(tmp_path / "keys")) as api:
        assert await statuses(api, given["busy"], 3) == [200] * 3
        for method, path, body in (
            ("POST", "/v1/decisions", BODY),
            ("POST", "/ofrep/v1/evaluate/flags/app_home", {"context": {"targetingKey": "c-1"}}),
            ("POST", "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "c-1"}}),
            ("POST", "/v1/events", {"events": []}),
            ("PUT", "/v1/customers/c-1", {}),
            ("GET", "/v1/customers/c-1", None),
            ("GET", "/v1/policy", None),
        ):
            answer = await api.client.request(method, path, json=body, headers=given["busy"])
            problem = problem_of(answer, 429)
            assert problem["type"] == "urn:nextbest:problem:rate-limited"
            assert 1 <= int(answer.headers["retry-after"]) <= 7200
            assert answer.headers["ratelimit-policy"] == '"key";q=3;w=3600'
            assert answer.headers["ratelimit"].startswith('"key";r=0;t=')
        assert await statuses(api, given["other"], 4) == [200] * 3 + [429]
        assert await statuses(api, given["free"], 20) == [200] * 20
        assert (await api.client.get("/health/live")).status_code == 200


async def test_lines_and_events_count_one_by_one(rules: Path, tmp_path: Path) -> None:
    given = keys_with(tmp_path / "keys", lines="6/hour", events="6/hour")
    async with running(rules, api_keys_file=str(tmp_path / "keys")) as api:
        text = "\n".join(json.dumps({**BODY, "customer_id": f"c-{n}"}) for n in range(8))
        headers = {**given["lines"], "content-type": "application/x-ndjson"}
        answer = await api.client.post("/v1/decisions/batch", content=text, headers=headers)
        rows: list[Any] = [json.loads(line) for line in answer.text.splitlines()]
        found = [row["error"]["status"] if "error" in row else 200 for row in rows]
        assert found == [200] * 6 + [429] * 2
        assert all(0 < row["error"]["retry_after"] <= 3600 for row in rows[6:])
        event = {"customer_id": "c-1", "type": "x"}
        for count, status in ((4, 202), (3, 429), (2, 202), (1, 429)):
            answer = await api.client.post(
                "/v1/events", json={"events": [event] * count}, headers=given["events"]
            )
            assert answer.status_code == status, (count, answer.text)


async def test_more_events_than_the_rate_at_once_are_taken_as_all_of_it(
    rules: Path, tmp_path: Path
) -> None:
    given = keys_with(tmp_path / "keys", events="6/hour; 100/day")
    async with running(rules, api_keys_file=str(tmp_path / "keys")) as api:
        event = {"customer_id": "c-1", "type": "x"}
        answer = await api.client.post(
            "/v1/events", json={"events": [event] * 5}, headers=given["events"]
        )
        assert answer.status_code == 202


@pytest.mark.parametrize("rate", ["", "fast", "0/second", "-1/second", "5/fortnight", "5"])
def test_a_rate_that_is_none_refuses_the_file_and_shows_how_to_write_one(
    tmp_path: Path, rate: str
) -> None:
    keys_with(tmp_path / "keys", app=rate)
    with pytest.raises(SettingsError, match=r"the rate of 'app' is .*write it as 100/second"):
        load_keys(tmp_path / "keys")
