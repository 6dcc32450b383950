"""`nextbest backup` and `nextbest restore`: what they say, and how they end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from decision.store import RedisStore
from tests.cli.conftest import Run
from tests.maintenance.backup_world import fill


def test_commands_say_what_they_did_and_what_to_do(
    tmp_path: Path, run: Run, redis_url: str, prefix: str
) -> None:
    """`backup` into a folder, `restore` elsewhere; a file that is there stays."""
    asyncio.run(alone(redis_url, f"{prefix}a:"))
    own = ("--redis-url", redis_url, "--key-prefix")
    told = run("backup", str(tmp_path), *own, f"{prefix}a:", "--json")
    assert told.exit_code == 0 and json.loads(told.stdout)["customers"] == 11
    (path,) = tmp_path.glob("nextbest-*.backup")
    assert run("backup", str(path), *own, f"{prefix}a:").exit_code == 1
    elsewhere = run("backup", str(tmp_path / "not-mounted" / "x"), *own, f"{prefix}a:")
    assert elsewhere.exit_code == 1 and "there is no folder" in elsewhere.stderr
    assert not (tmp_path / "not-mounted").exists()
    other = (*own, f"{prefix}b:")
    assert "set NEXTBEST_KEY_PREFIX" in (refused := run("restore", str(path), *other)).stderr
    assert refused.exit_code == 1
    told = run("restore", str(path), *other, "--from-prefix", f"{prefix}a:")
    assert told.exit_code == 0 and "11 customers and " in told.stdout
    assert "deliveries waited, and are held" in told.stderr
    again = run("restore", str(path), *other, "--from-prefix", f"{prefix}a:")
    assert again.exit_code == 1 and "add --replace" in again.stderr


async def alone(url: str, prefix: str) -> None:
    """Fills a store."""
    store = RedisStore(url, prefix=prefix)
    await store.start()
    await fill(store)
    await store.close()


def test_who_was_erased_after_the_backup_is_erased_again_by_the_archive(
    tmp_path: Path, run: Run, redis_url: str, prefix: str
) -> None:
    """The archive names nobody: customers of the backup are told by their pseudonyms."""
    asyncio.run(alone(redis_url, f"{prefix}a:"))
    own = ("--redis-url", redis_url, "--key-prefix", f"{prefix}a:")
    archive = str(tmp_path / "archive")
    assert run("backup", str(tmp_path / "a.backup"), *own).exit_code == 0
    assert run("erase", "c-8", *own).exit_code == 0
    assert run("archive", "--out", archive, *own).exit_code == 0
    told = run("restore", str(tmp_path / "a.backup"), *own, "--replace", "--archive", archive)
    assert told.exit_code == 0 and "1 customer erased again" in told.stdout
    assert run("export", "c-8", *own).exit_code == 1
    assert run("export", "c-9", *own, "--out", str(tmp_path / "c-9")).exit_code == 0
    again = run("archive", "--out", archive, *own, "--json")
    assert again.exit_code == 0 and json.loads(again.stdout)["quarantined"] == 0
