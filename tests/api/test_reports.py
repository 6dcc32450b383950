"""`GET /v1/reports/{kind}`: the answer of the command, for keys with the scope `reports`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from decision.analytics.reports import KINDS
from decision.core.said import Said
from decision.rulebook.reader import load_folder
from tests.analytics.reports.made import report
from tests.analytics.reports.whole import given_of, write_whole
from tests.api.conftest import running
from tests.api.test_bad_input import problem_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", KINDS)
async def test_the_answer_is_that_of_the_command(rules: Path, tmp_path: Path, kind: str) -> None:
    archive = write_whole(tmp_path / "log")
    asked = given_of(kind)
    asked["timezone"] = "Asia/Shanghai"
    policy = load_folder(rules).definition
    async with running(rules, archive=str(archive)) as api:
        answer = await api.client.get(f"/v1/reports/{kind}", params=asked)
        assert answer.status_code == 200, answer.text
        found = report(kind, archive, policy, **asked)
        assert answer.json() == msgspec.json.decode(msgspec.json.encode(found))
        shown = KINDS[kind].show(found)
        titles = [one.title for one in (*shown.tables, *shown.charts)]
        for text in (*shown.said, *shown.warnings, *titles):
            assert isinstance(text, Said), f"{text}: no other language can say it"
        refused = await api.client.get(f"/v1/reports/{kind}", params={**asked, "frm": "2026"})
        problem = problem_of(refused, 400)
        assert problem["errors"][0]["path"] == "frm"
        assert 'did you mean "from"' in problem["errors"][0]["detail"]


async def test_other_kinds_and_a_server_without_an_archive_are_told(
    rules: Path, tmp_path: Path
) -> None:
    async with running(rules) as api:
        asked = await api.client.get("/v1/reports/funnel", params={"steps": "a,b"})
        assert "set NEXTBEST_ARCHIVE" in problem_of(asked, 404)["detail"]
        other = await api.client.get("/v1/reports/funel")
        assert 'did you mean "funnel"' in problem_of(other, 404)["detail"]
    tmp_path.joinpath("log").mkdir()
    async with running(rules, archive=str(tmp_path / "log")) as api:
        asked = await api.client.get("/v1/reports/funnel", params={"steps": "a,b"})
        assert "has no events" in problem_of(asked, 404)["detail"]
