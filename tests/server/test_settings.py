"""A variable that nobody reads is told, with the nearest that is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from decision.core.clock import DAY
from decision.server.opening import serving_engine
from decision.server.settings import SETTINGS, ServerSettings
from decision.server.settings_reading import unknown_variables
from decision.store import RedisStore
from tests.api.conftest import RULES
from tests.api.serving import Server
from tests.cli.conftest import Run, run  # noqa: F401 - a fixture


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("NEXTBEST_WORKER", "did you mean NEXTBEST_WORKERS?"),
        ("NEXTBEST_REDIS_ULR", "did you mean NEXTBEST_REDIS_URL?"),
        ("NEXTBEST_API_KEY_FILE", "did you mean NEXTBEST_API_KEYS_FILE?"),
        ("NEXTBEST_COLOUR", "nextbest serve --help lists all settings"),
        ("NEXTBEST_", "nextbest serve --help lists all settings"),
    ],
)
def test_a_name_that_is_misspelt_is_told_with_the_nearest(name: str, hint: str) -> None:
    assert unknown_variables({name: "secret"}) == [
        f"{name} is not a setting, and has no effect; {hint}"
    ]


def test_what_is_read_and_what_kubernetes_sets_is_not_told() -> None:
    ours = [setting.name for setting in SETTINGS]
    others = ["NEXTBEST_API_KEY", "NEXTBEST_TRACEBACK", "PATH", "_NEXTBEST_IMAGE"]
    kubernetes = ["NEXTBEST_SERVICE_HOST", "NEXTBEST_SERVICE_PORT", "NEXTBEST_SERVICE_PORT_HTTP"]
    kubernetes += ["NEXTBEST_PORT_8000_TCP", "NEXTBEST_PORT_8000_TCP_ADDR"]
    assert unknown_variables(dict.fromkeys([*ours, *others, *kubernetes], "x")) == []


def test_a_command_tells_it_on_stderr(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("NEXTBEST_REDIS_ULR", "redis://127.0.0.1:1")
    result = run("audit", "--redis-url", "redis://127.0.0.1:1")
    assert "did you mean NEXTBEST_REDIS_URL?" in result.stderr
    assert "did you mean" not in result.stdout


@pytest.mark.slow
def test_a_server_tells_it_in_its_log(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    with Server(tmp_path, worker=2) as server:
        server.ready()
        assert server.text.count("did you mean NEXTBEST_WORKERS?") == 1
        assert '"unknown_setting"' in server.text


def test_what_is_kept_and_leased_is_as_set() -> None:
    own = ServerSettings(redis_url="redis://h", event_ids_hours=24, budget_lease_seconds=60)
    engine = serving_engine(own)
    assert engine.runtime.settings.event_ids_last == DAY
    assert isinstance(engine.runtime.store, RedisStore)
    assert engine.runtime.store.lease_lasts == 60
