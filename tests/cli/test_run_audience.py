"""`nextbest run-audience`, over a real store."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from decision.core.errors import NotFound
from decision.core.identifiers import PARTITIONS
from decision.core.records import decode_decision
from decision.store import RedisStore

CUSTOMERS = """\
customer_id,country,segment.vip,consent.marketing.email
ann,CN,true,granted
bob,CN,true,denied
cem,DE,true,granted
dan,CN,,granted
"""


@pytest.fixture
def where(rules: Path, redis_url: str, prefix: str, run: Any, tmp_path: Path) -> list[str]:
    """The options that name a store with four customers."""
    found = ["--redis-url", redis_url, "--key-prefix", prefix, "--rules", str(rules)]
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    assert run("load", "customers.csv", *found).exit_code == 0
    return found


VIP = ("run-audience", "--placement", "outbound", "--segment", "vip")


def test_the_nightly_run(run, where) -> None:
    result = run(*VIP, "--run", "night", "--out", "night.ndjson", *where)
    assert result.exit_code == 0, result.output
    assert "3 of 4 customers match" in result.stdout
    assert "2 selected" in result.stdout and "1 nothing: no_consent" in result.stdout
    rows = [json.loads(line) for line in Path("night.ndjson").read_text().splitlines()]
    # Both are of the same value but one: Chinese customers get the fresh tea with a boost.
    assert [row["customer_id"] for row in rows] == ["ann", "cem"]
    titles = {row["selections"][0]["content"]["title"] for row in rows}
    assert titles <= {"新茶到店", "Ten percent off"}
    again = run(*VIP, "--run", "night", "--out", "night.ndjson", "--json", *where)
    assert again.exit_code == 0 and "is finished already" in again.stderr
    assert json.loads(again.stdout)["outcomes"] == {"selected": 2, "none no_consent": 1}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--placement", "outbound"], 2, "--when FILE or --segment NAME"),
        (["--placement", "outbond", "--segment", "vip", "--out", "a.ndjson"], 1, '"outbound"'),
        (["--placement", "outbound", "--segment", "vip"], 1, "--out"),
        (["--placement", "outbound", "--segment", "vpi", "--out", "a.ndjson"], 1, '"vip"'),
        (["--placement", "outbound", "--segment", "vip", "--out", "a.csv"], 2, ".ndjson"),
        (["--placement", "outbound", "--segment", "vip", "--out", "no/a.ndjson"], 1, "no/a.ndjson"),
        (["--placement", "outbound", "--segment", "vip", "--share", "3/2"], 2, "--share"),
        (
            ["--placement", "outbound", "--when", "none.yaml", "--out", "a.ndjson"],
            1,
            "No such file",
        ),
        (["--placement", "outbound", "--segment", "vip", "--run", "../x"], 1, "name of a run"),
        ([*VIP[1:], "--channels", "mail", "--out", "a.ndjson"], 1, '"email"'),
    ],
)
def test_what_cannot_be_is_said_with_the_fix(run, where, options, code, said) -> None:
    result = run("run-audience", *options, *where)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert not Path("a.ndjson").exists()


def test_a_run_keeps_what_it_was_asked_for(run, where, rules: Path) -> None:
    broken = run(*VIP, "--run", "n", "--channels", "mail", "--out", "a.ndjson", *where)
    assert broken.exit_code == 1
    assert (
        run(*VIP, "--run", "n", "--channels", "email", "--out", "a.ndjson", *where).exit_code == 0
    )
    other = run(*VIP, "--run", "n", "--out", "a.ndjson", *where)
    assert other.exit_code == 1 and "began with another --channels" in other.stderr
    nobody = run(*VIP[:3], "--when", "de.yaml", "--out", "b.ndjson", *where)
    assert nobody.exit_code == 1
    Path("de.yaml").write_text("customer.country: FR\n")
    nobody = run(*VIP[:3], "--when", "de.yaml", "--out", "b.ndjson", *where)
    assert nobody.exit_code == 1 and "nobody matches" in nobody.stderr


async def decided(redis_url: str, prefix: str) -> Counter[str]:
    """Customer → how many decisions the log has."""
    store = RedisStore(redis_url, prefix=prefix)
    await store.start()
    try:
        found: Counter[str] = Counter()
        for partition in range(PARTITIONS):
            for one in await store.log_records(partition):
                if one.kind == "decision":
                    found[decode_decision(one.body).customer_id] += 1
        return found
    finally:
        await store.close()


def test_two_processes_that_are_killed_and_begun_again_decide_for_each_once(
    run, where, redis_url: str, prefix: str
) -> None:
    names = [f"m-{number}" for number in range(3_000)]
    Path("many.csv").write_text(
        "customer_id,segment.many,consent.marketing.email\n"
        + "".join(f"{name},true,granted\n" for name in names)
    )
    assert run("load", "many.csv", *where).exit_code == 0

    def counted() -> Counter[str]:
        return asyncio.run(decided(redis_url, prefix))

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    draw, kills = random.Random(3), 0
    for share in ("1/2", "2/2"):
        command = [
            *(sys.executable, "-m", "decision.cli", *VIP[:3], "--segment", "many", "--run", "n"),
            *("--share", share, "--out", f"{share[0]}.ndjson", "--order", "listed", *where),
        ]
        while True:
            with Path("out.log").open("wb") as log:
                process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                enough = draw.randrange(200, 1_000)
                before = counted().total()
                while kills < 4 and process.poll() is None:
                    if counted().total() > before + enough:
                        os.kill(process.pid, signal.SIGKILL)
                        kills += 1
                    time.sleep(0.05)
                code = process.wait(120)
            if code != -signal.SIGKILL:
                assert code == 0, Path("out.log").read_text()
                break
    assert kills
    assert counted() == dict.fromkeys(names, 1)
    given = [
        json.loads(line)["customer_id"]
        for part in (1, 2)
        for line in Path(f"{part}.ndjson").read_text().splitlines()
    ]
    assert Counter(given) == dict.fromkeys(names, 1)


def test_a_file_that_is_there_is_not_written_over(run, where) -> None:
    def part(share: str, *more: str) -> Any:
        return run(*VIP, "--run", "n", "--share", share, "--out", "a.ndjson", *more, *where)

    shares = [f"{number}/3" for number in (1, 2, 3)]
    results = [part(one) for one in shares]
    said = [one.stderr for one in results if one.exit_code]
    # A part without anybody writes nothing that could be kept, and ends with 1 as well.
    assert any("exists already" in one and "--overwrite" in one for one in said)
    again = [part(one, "--overwrite") for one in shares]
    assert not any("exists already" in one.stderr for one in again)


def test_a_run_in_parts_of_another_number_is_refused(run, where) -> None:
    """Its customers would be in other parts, and some be decided for twice."""

    def part(share: str, run_name: str = "n") -> Any:
        out = f"{run_name}-{share[0]}.ndjson"
        return run(*VIP, "--run", run_name, "--share", share, "--out", out, *where)

    part("1/2")
    for share in ("1/3", "2/3", "1/1"):
        refused = part(share)
        assert refused.exit_code == 1
        assert "run n is in 2 parts, as .nextbest/runs/n-1of2.sqlite says" in refused.stderr
        assert "--share I/2" in refused.stderr
    assert "is in 2 parts" not in part("2/2").stderr
    assert part("1/3", "n-1").exit_code in (0, 1)
    whole = run(*VIP, "--run", "w", "--out", "w.ndjson", *where)
    assert whole.exit_code == 0 and "is in 1 part, as" in part("1/2", "w").stderr
    again = run(*VIP, "--run", "w", "--share", "1/1", "--out", "w.ndjson", *where)
    assert "is finished already" in again.stderr


def test_without_customers_store_or_policy_it_is_said_what_is_missing(run, where) -> None:
    def ask(*more: str) -> str:
        ended = run(*VIP, "--out", "a.ndjson", *where, *more)
        assert ended.exit_code == 1 and not Path("a.ndjson").exists()
        said: str = ended.stderr
        return said

    assert "the store has no customers" in ask("--key-prefix", "nobody:")
    said = ask("--redis-url", "redis://127.0.0.1:1")
    assert "Error: Redis at 127.0.0.1:1 cannot be reached" in said
    assert "nothing is lost; run it again" in said
    assert "nothing is published yet: run nextbest publish" in ask("--follow", "published")


def test_what_decides_is_said(run, where) -> None:
    result = run(*VIP, "--out", "a.ndjson", *where)
    assert "and no model (--models)" in result.stderr


def test_a_run_that_has_asked_for_somebody_is_kept_whatever_ends_it(
    run, where, monkeypatch
) -> None:
    """Its file alone leads to what they were given."""
    from decision.audiences.asking.state import Asks

    def broken(*_: object) -> None:
        raise NotFound("the rules have changed")

    with monkeypatch.context() as patched:
        patched.setattr(Asks, "note", broken)
        ended = run(*VIP, "--run", "n", "--out", "a.ndjson", *where)
    assert ended.exit_code == 1 and "the rules have changed" in ended.stderr
    assert run(*VIP, "--run", "n", "--out", "a.ndjson", *where).exit_code == 0
    given = [json.loads(line)["customer_id"] for line in Path("a.ndjson").read_text().splitlines()]
    assert sorted(given) == ["ann", "cem"]
