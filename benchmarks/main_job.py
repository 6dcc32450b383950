"""The main job on real customers, as a user runs it, both ways: by command and over HTTP.

    python -m benchmarks.main_job [--customers N]

loads Hillstrom's customers, trains a model on their outcomes, takes one decision for each by
`nextbest decide` and one over HTTP from 16 connections, and holds the two against each other and
against the log. Data as for `benchmarks.hillstrom`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from benchmarks import hillstrom
from decision.core import records as log
from decision.core.identifiers import PARTITIONS
from decision.store import EmbeddedRedis, RedisStore

CONNECTIONS: Final = 16
SEED: Final = "hillstrom"
GAMMA: Final = 30


class Outcome(NamedTuple):
    """What a run came to; `lines` are for people, `problems` is empty when all is well."""

    lines: list[str]
    problems: list[str]


def run(customers: int | None = None) -> Outcome:
    """Does the whole job in a folder of its own."""
    rows = hillstrom.load()[:customers]
    with TemporaryDirectory() as name:
        return _run(rows, Path(name))


def _run(rows: Sequence[hillstrom.Row], home: Path) -> Outcome:
    lines: list[str] = []
    problems: list[str] = []

    def timed(what: str, began: float) -> None:
        lines.append(f"{what:<48}{time.perf_counter() - began:8.1f} s")

    rules, models = home / "rules", home / "models"
    shutil.copytree(hillstrom.RULES, rules)
    campaign = rules / "campaign.yaml"
    text = campaign.read_text(encoding="utf-8")
    campaign.write_text(text.replace("exploration: off", f"exploration: {GAMMA}"), encoding="utf-8")
    _write(home / "customers.ndjson", hillstrom.customers(rows))
    _write(home / "requests.ndjson", hillstrom.requests(rows))

    began = time.perf_counter()
    version = hillstrom.train_on(rows, models)
    timed(f"train on {len(rows)} customers ({version.name})", began)

    began = time.perf_counter()
    arguments = ["--rules", rules, "--models", models, "--customers", home / "customers.ndjson"]
    arguments += ["--requests", home / "requests.ndjson", "--out", home / "answers.ndjson"]
    _command(home, "decide", *arguments, "--seed", SEED)
    timed("nextbest decide, customers loaded first", began)
    offline = [json.loads(line) for line in (home / "answers.ndjson").open(encoding="utf-8")]

    with EmbeddedRedis(home / "redis") as url:
        began = time.perf_counter()
        flags = ["--redis-url", url, "--rules", rules, "--models", models]
        _command(home, "load", home / "customers.ndjson", *flags)
        timed("nextbest load into Redis", began)
        port = 18_000 + os.getpid() % 1_000
        server = subprocess.Popen(
            [*_NEXTBEST, "serve", *map(str, flags), "--port", str(port), "--seed", SEED],
            cwd=home,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=(home / "server.log").open("wb"),
        )
        try:
            began = time.perf_counter()
            online = asyncio.run(_ask_all(port, hillstrom.requests(rows), server))
            took = time.perf_counter() - began
            timed(f"over HTTP, {CONNECTIONS} connections, {len(rows) / took:.0f}/s", began)
        finally:
            server.terminate()
            server.wait(30)
        logged = asyncio.run(_logged(url))

    for name, answers in (("decide", offline), ("HTTP", online)):
        failed = [answer for answer in answers if "outcome" not in answer]
        if failed:
            problems.append(f"{name}: {len(failed)} errors, the first is {failed[0]}")
        if len(answers) != len(rows):
            problems.append(f"{name}: {len(answers)} answers to {len(rows)} requests")
    by_customer = {answer.get("customer_id"): _choice(answer) for answer in offline}
    differing = [a for a in online if _choice(a) != by_customer.get(a.get("customer_id"))]
    if differing:
        problems.append(f"{len(differing)} decisions differ, the first is {differing[0]}")
    selections = sum(len(answer.get("selections", ())) for answer in online)
    if logged != selections:
        problems.append(f"{selections} selections, but {logged} rows in the log")
    if not selections:
        problems.append("nothing was selected")
    counts = Counter(_choice(answer)[0] for answer in online)
    lines.append(f"decisions over HTTP: {dict(counts)}; selections in the log: {logged}")
    lines.append(f"the same both ways: {len(online) - len(differing)} of {len(online)}")
    return Outcome(lines, problems)


_NEXTBEST: Final = [sys.executable, "-m", "decision.cli"]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def _command(home: Path, *arguments: object) -> None:
    ran = subprocess.run(
        [*_NEXTBEST, *map(str, arguments)],
        cwd=home,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"nextbest {arguments[0]} ended with {ran.returncode}: {ran.stderr}")


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _choice(answer: dict[str, Any]) -> tuple[str | None, float | None, str | None]:
    picked = (answer.get("selections") or [{}])[0]
    return picked.get("message"), picked.get("selection_probability"), answer.get("reason")


async def _ask_all(
    port: int, requests: Sequence[dict[str, Any]], server: subprocess.Popen[bytes]
) -> list[dict[str, Any]]:
    """One POST for each request over 16 connections that are kept open."""
    waiting = [{key: row[key] for key in ("customer_id", "placement")} for row in requests]
    answers: list[dict[str, Any]] = []

    async def client() -> None:
        reader, writer = await _connected(port, server)
        while waiting:
            body = json.dumps(waiting.pop()).encode()
            writer.write(
                b"POST /v1/decisions HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            answers.append(json.loads(await reader.readexactly(length)))
        writer.close()

    await asyncio.gather(*[client() for _ in range(CONNECTIONS)])
    return answers


async def _connected(
    port: int, server: subprocess.Popen[bytes]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection, once the server has its policy and model."""
    for _ in range(1_200):
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            ready = b" 200 " in await reader.readline()
            writer.close()
            if ready:
                return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError("the server is not ready after two minutes")


async def _logged(url: str) -> int:
    """How many selections the log holds."""
    store = RedisStore(url)
    await store.start()
    try:
        found = 0
        for partition in range(PARTITIONS):
            for row in await store.log_records(partition):
                if row.kind == "decision":
                    found += len(log.decode_decision(row.body).selections)
        return found
    finally:
        await store.close()


def main() -> int:
    """Prints what was done, and 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--customers", type=int, help="only the first N")
    try:
        outcome = run(parser.parse_args().customers)
    except FileNotFoundError as error:
        print(f"{error.filename}: no data; set NEXTBEST_DATA to the folder that has it")
        return 1
    print("\n".join([*outcome.lines, *outcome.problems]))
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
