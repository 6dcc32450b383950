"""What is no regular file is never waited for, and a file system that hangs stops nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from decision.files import append_line, read_regular
from decision.scoring.manifest import ModelError, read_version
from decision.scoring.versions import current_version, history, shadow_version
from decision.server import models as server_models
from decision.server.aside import Aside, Unanswered
from decision.server.metrics import Metrics
from decision.server.models import Models as NoModels
from decision.server.models import ModelSupply, load_models, models_fingerprint
from tests.api.conftest import Api
from tests.api.serving import Server

pytestmark = pytest.mark.anyio


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


SPECIAL: list[Callable[[Path], None]] = [_fifo, _zero, _socket, _folder, _loop, _huge]
special = pytest.mark.parametrize("make", SPECIAL, ids=lambda make: make.__name__[1:])


@special
def test_only_regular_files_up_to_a_size_are_read(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "it")
    with pytest.raises(OSError, match=r".") as found:
        read_regular(tmp_path / "it", 1000)
    assert found.value.strerror


def test_a_line_is_not_added_to_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "history")
    with pytest.raises(OSError, match="not a regular file"):
        append_line(tmp_path / "history", b"x")


@special
def test_a_pointer_that_is_no_file_names_no_model(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    for name, version in (("current", current_version), ("shadow", shadow_version)):
        make(tmp_path / name)
        with pytest.raises(ModelError, match=name):
            version(tmp_path)
    assert models_fingerprint(str(tmp_path))
    assert "current" in (load_models(str(tmp_path), NoModels()).problem or "")


def test_a_dangling_pointer_is_none(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("nowhere")
    assert current_version(tmp_path) is None


@special
@pytest.mark.parametrize("name", ["manifest.json", "model.txt"])
def test_a_version_of_special_files_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    with pytest.raises(ModelError):
        read_version(tmp_path)


@special
def test_a_spec_that_is_no_file_is_left_out(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "spec.yaml")
    assert server_models.spec_features(tmp_path) == server_models.MINIMAL_FEATURES


def test_a_history_that_is_a_pipe_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "history")
    with pytest.raises(OSError, match="not a regular file"):
        history(tmp_path)


async def test_work_that_hangs_is_refused_in_time_and_keeps_one_thread() -> None:
    hangs, aside = threading.Event(), Aside("the folder")
    before = threading.active_count()
    for _ in range(5):
        with pytest.raises(Unanswered, match="the folder does not answer"):
            await aside.run(lambda: hangs.wait(60), 0.05)
    assert threading.active_count() == before + 1
    hangs.set()
    async with asyncio.timeout(20):
        while threading.active_count() > before:
            await asyncio.sleep(0.01)
    assert await aside.run(lambda: 5, 20) == 5


async def test_more_work_than_places_waits_for_its_turn() -> None:
    aside, running, most = Aside("the archive", 2), [0], [0]
    lock = threading.Lock()

    def work() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1

    await asyncio.gather(*(aside.run(work, 20) for _ in range(10)))
    assert most[0] <= 2


async def test_what_work_raises_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        await Aside("it").run(lambda: 1 / 0, 20)


async def test_a_models_folder_that_hangs_is_named_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    real = models_fingerprint

    def look(folder: str | None) -> str:
        hangs.wait(60)
        return real(folder)

    models = ModelSupply(str(tmp_path), Metrics())
    await models.refresh()
    monkeypatch.setattr(server_models, "_LOOKED_WITHIN", 0.05)
    monkeypatch.setattr(server_models, "models_fingerprint", look)
    looks = [await models.changed() for _ in range(3)]
    assert looks[-1]
    await models.refresh()
    assert "does not answer" in (models.current.problem or "")
    assert [await models.changed() for _ in range(5)] == [False] * 5
    hangs.set()
    monkeypatch.setattr(server_models, "_LOOKED_WITHIN", 20)
    async with asyncio.timeout(20):
        while models.current.problem is not None:
            if await models.changed():
                await models.refresh()
            await asyncio.sleep(0.01)


async def test_a_rules_folder_that_hangs_answers_a_reload_with_503(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decision.server import supply

    hangs = threading.Event()
    monkeypatch.setattr(supply, "_LOOKED_WITHIN", 0.05)
    monkeypatch.setattr(supply, "folder_fingerprint", lambda folder: hangs.wait(60))
    answer = await api.client.post("/v1/policy/reload")
    assert answer.status_code == 503
    assert str(api.rules) not in answer.text
    assert (await api.decide(customer_id="c-1")).status_code == 200
    hangs.set()


async def test_an_archive_of_pipes_or_one_that_hangs_is_answered_in_time(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decision.server import archived
    from tests.api.conftest import running

    decision = "01KAK0V4R0GZ8M4T1S8Q2W5X7C"
    day = tmp_path / "archive" / "decisions" / "date=2025-11-21"
    day.mkdir(parents=True)
    os.mkfifo(day / "part.parquet")
    async with running(rules, archive=str(tmp_path / "archive")) as api:
        for _ in range(8):
            async with asyncio.timeout(30):
                answer = await api.client.get(f"/v1/decisions/{decision}")
            assert answer.status_code >= 400
        hangs = threading.Event()
        monkeypatch.setattr(archived, "_FOUND_WITHIN", 0.05)
        monkeypatch.setattr(archived, "look_up", lambda folder, one: hangs.wait(60))
        for _ in range(8):
            answer = await api.client.get(f"/v1/decisions/{decision}")
            assert answer.status_code == 503
            assert str(tmp_path) not in answer.text
        hangs.set()


def test_pipes_for_pointer_and_keys_freeze_nothing_and_it_stops_on_a_signal(
    rules: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text("- {name: a, sha256: '" + "0" * 64 + "', scopes: [decide]}\n")
    models = tmp_path / "models"
    models.mkdir()
    settings = {"rules": rules, "models": models, "api_keys_file": keys}
    with Server(tmp_path, **settings).ready() as server:
        os.mkfifo(models / "current")
        keys.unlink()
        os.mkfifo(keys)
        (models / "spec.yaml").symlink_to("/dev/zero")
        found = server.wait_until_json("/health/ready", lambda body: len(body["degraded"]) == 2)
        assert set(found["degraded"]) == {"model", "keys"}
        assert server.stop() == 0, server.text
