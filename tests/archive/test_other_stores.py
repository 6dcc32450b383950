"""The archive in stores of Google and Azure: what the tests of S3 do not show of them.

Azure is Microsoft's emulator, where it is installed: `npm install -g azurite`. Google's is ours, by the
XML API as it is documented: the emulators that there are do not have its conditional writes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import obstore
import pyarrow.parquet as pq
import pytest

from decision.archive.change import TableChange
from decision.archive.compaction import compact
from decision.archive.customers import days_of, rows_of
from decision.archive.erasing import erase_from_archive
from decision.archive.errors import ArchiveUnavailable
from decision.archive.folder import ArchiveFolder
from decision.archive.location import location, parquet_file
from decision.archive.lookup import look_up
from decision.archive.query import open_database
from decision.archive.table import Table, TableChanged
from decision.archive.tables import files
from decision.engine import Engine
from decision.store import MemoryStore
from tests.archive.test_archive import archive, decide, engine, event, log
from tests.archive.test_object_store import forget_clients, ids, running
from tests.object_store import ObjectStore
from tests.ports import free_port

__all__ = ["engine", "running"]
pytestmark = pytest.mark.anyio

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an emulator with one container, `bucket`."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("Azure's emulator is not installed: npm install -g azurite")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    command = [program, *options, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    home = tmp_path_factory.mktemp("azurite")
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                _make_container(url)
                break
            except URLError:
                assert process.poll() is None
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def _make_container(url: str) -> None:
    date = formatdate(usegmt=True)
    name = f"/{ACCOUNT}/{ACCOUNT}/bucket\nrestype:container"
    signed = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:2021-08-06\n{name}"
    digest = hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)
    headers = {
        "x-ms-date": date,
        "x-ms-version": "2021-08-06",
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Length": "0",
    }
    asked = f"{url}/{ACCOUNT}/bucket?restype=container"
    urlopen(Request(asked, method="PUT", headers=headers), timeout=20).close()


@pytest.fixture
def google(running: ObjectStore, tmp_path: Path) -> dict[str, str]:
    """The environment of a client of Google's store."""
    running.reset()
    account = {"gcs_base_url": running.url, "disable_oauth": True}
    account |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    (tmp_path / "account.json").write_text(json.dumps(account))
    return {"GOOGLE_SERVICE_ACCOUNT": str(tmp_path / "account.json")}


@pytest.fixture
def azure(azurite: str) -> dict[str, str]:
    """The environment of a client of Azure's. That it is an emulator must be said: it lists all
    objects, whichever are asked for by `startFrom`."""
    return {
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": azurite,
    }


def without_emulator(environment: dict[str, str]) -> dict[str, str]:
    """The same as for another address of Azure's."""
    address = f"{environment['AZURITE_BLOB_STORAGE_URL']}/{ACCOUNT}"
    own = {"AZURE_STORAGE_USE_EMULATOR": "false", "AZURE_STORAGE_ENDPOINT": address}
    return {**environment, **own, "AZURE_ALLOW_HTTP": "true"}


@pytest.fixture
def out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    kind = "google" if request.param == "gs" else "azure"
    for name, value in request.getfixturevalue(kind).items():
        monkeypatch.setenv(name, value)
    forget_clients()
    host = f"@{ACCOUNT}.dfs.core.windows.net" if request.param == "abfss" else ""
    return location(f"{request.param}://bucket{host}/{request.param}/archive")


def everything(out: Any) -> bytes:
    """Every object that is there, and the values of Parquet files unpacked."""
    store, prefix = out.fs.store_of(out.path)
    found = []
    for page in obstore.list(store, prefix):
        for one in page:
            data = obstore.get(store, one["path"]).bytes().to_bytes()
            found += [one["path"].encode(), data]
            if one["path"].endswith(".parquet"):
                found.append(repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode())
    return b"\n".join(found)


@pytest.mark.parametrize("out", ["gs", "az"], indirect=True)
async def test_an_archive_there_is_written_read_merged_and_erased_from_as_in_a_folder(
    engine: Engine, store: MemoryStore, out: Path
) -> None:
    for number in range(3):
        made = await decide(engine, f"zebra{number}zebra")
        await log(store, f"客{number}", event(f"e-{number}", f"客{number}"))
        await archive(store, out)
    assert ids(out) == Counter(["e-0", "e-1", "e-2"])
    found = look_up(out, made)
    assert found is not None
    (day,) = days_of(out, "events")
    assert [row["event_id"] for row in rows_of(out, "events", day, ["客1"])] == ["e-1"]
    assert compact(ArchiveFolder(out), fewest=2).files > 2
    with open_database() as database:
        database.view_dataset("decisions", files(out, "decisions"))
        assert database.value("SELECT count(*) FROM decisions") == 3
    assert b"zebra1zebra" in everything(out)
    await engine.customers.erase("zebra1zebra")
    await archive(store, out)
    assert erase_from_archive(out, ["zebra2zebra"]).rows > 0
    left = everything(out)
    assert b"zebra0zebra" in left
    assert b"zebra1zebra" not in left and b"zebra2zebra" not in left
    assert not [row for number in range(256) for row in await store.log_records(number)]


@pytest.mark.parametrize("out", ["gs", "az", "abfss"], indirect=True)
async def test_of_two_commits_on_one_state_there_the_second_is_refused(
    engine: Engine, store: MemoryStore, out: Path
) -> None:
    await decide(engine, "c-1")
    await archive(store, out)
    both = [Table.find(ArchiveFolder(out), "decisions") for _ in range(2)]
    for number, table in enumerate(both):
        assert table is not None
        change = TableChange(table)
        change.add("2026-01-01", parquet_file(table.files[0]).read())
        if number:
            with pytest.raises(TableChanged):
                change.commit({"same": 1})
        else:
            change.commit({"same": 1})


@pytest.mark.parametrize(
    ("kind", "changed", "url", "said"),
    [
        ("google", {}, "gs://other/a", "there is no bucket other; make it"),
        ("google", {"GOOGLE_SERVICE_ACCOUNT": "/none"}, "gs://bucket/a", "cannot be read; check"),
        ("azure", {}, "az://other/a", "there is no container other; make it"),
        ("azure", {}, "az://No_Name/a", "no container can have the name No_Name"),
        ("azure", {"AZURE_ALLOW_HTTP": "false"}, "az://bucket/a", "set AZURE_ALLOW_HTTP=true"),
        ("azure", {"AZURE_ALLOW_HTTP": "si"}, "az://bucket/a", "check those that begin with AZURE"),
        (
            "azure",
            {"AZURE_STORAGE_ACCOUNT_KEY": "?"},
            "az://bucket/a",
            "credentials cannot be read",
        ),
        (
            "azure",
            {"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="},
            "az://bucket/a",
            "check AZURE_STORAGE",
        ),
    ],
)
async def test_settings_that_are_wrong_are_told_with_the_fix(
    store: MemoryStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
    kind: str, changed: dict[str, str], url: str, said: str,
) -> None:  # fmt: skip
    environment = request.getfixturevalue(kind)
    if kind == "azure":
        environment = without_emulator(environment)
    for name, value in {**environment, **changed}.items():
        monkeypatch.setenv(name, value)
    forget_clients()
    await log(store, "c-1", event("e", "c-1"))
    with pytest.raises(ArchiveUnavailable) as error:
        await archive(store, location(url))
    assert said in str(error.value) and str(error.value).startswith(url)
    assert not await store.get_blob("archive:archive")
