"""Which versions are in force is changed by one at a time."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from decision.scoring.versions import current_version, history, placements_with_own, point_to


def test_changes_at_several_placements_at_once_lose_none(tmp_path: Path) -> None:
    places = [f"p{number}" for number in range(8)]
    for place in places:
        version = tmp_path / "one" / place
        version.mkdir(parents=True)
        scope = {"scope": {"placement": place}}
        (version / "manifest.json").write_text(json.dumps(scope), "utf-8")
    with ThreadPoolExecutor(len(places)) as pool:
        list(pool.map(lambda place: point_to(tmp_path, tmp_path / "one" / place), places))
    assert placements_with_own(tmp_path) == places
    assert all(current_version(tmp_path, one) == tmp_path / "one" / one for one in places)
    assert sorted(str(one.placement) for one in history(tmp_path)) == places
