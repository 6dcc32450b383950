"""A server without the packages that read archives: its pages say how they are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.conftest import browsing

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["experiments/found", "reports/found", "candidates/found"])
async def test_pages_on_the_archive_name_the_packages_and_the_command(
    path: str, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than to start with an archive, which nothing could read."""
    monkeypatch.setattr("decision.installation.find_spec", lambda name: None)
    async with browsing(rules) as browser:
        text = (await browser.get(f"/console/{path}")).text
        assert "Packages are missing on the server" in text
        assert "needs deltalake, duckdb and pyarrow; install what is missing with: " in text
        assert "There is no archive" not in text
