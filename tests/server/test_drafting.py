"""What settings mean for drafts of rule files."""

from __future__ import annotations

import pytest

from decision.server.drafting import needs_review, why_read_only
from decision.server.settings import ServerSettings
from decision.server.settings_reading import read_settings
from decision.server.workers import StartRefused, check


def test_where_the_server_follows_a_folder_drafts_are_read_only_with_the_reason() -> None:
    reason = why_read_only(ServerSettings(rules="/srv/rules"))
    assert reason is not None and "/srv/rules" in reason and "--follow published" in reason
    assert why_read_only(ServerSettings(follow="published")) is None


def test_a_review_that_nobody_could_give_is_refused_at_the_start() -> None:
    settings = read_settings({"NEXTBEST_REVIEW": "required", "NEXTBEST_FOLLOW": "published"})
    assert needs_review(settings) and not needs_review(ServerSettings())
    with pytest.raises(StartRefused, match="NEXTBEST_REVIEW"):
        check(settings)
