"""A batch of a million lines needs no more memory than one of a hundred thousand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.contract import Contract
from tests.clients.typescript import MISSING, installed, node
from tests.docs.pages import ROOT

LINES = 1_000_000
GROWTH = 40 * 2**20

PYTHON = """
import json, sys
from nextbest_client import Client

def memory():
    rows = open("/proc/self/status").read().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("VmRSS"))

url, key, lines = sys.argv[1], sys.argv[2], int(sys.argv[3])

def requests():
    for number in range(lines):
        good = {"placement": "app_home", "customer_id": f"c-{number}", "dry_run": True}
        yield good if number % 20 == 0 else "{broken"

told = errors = 0
with Client(url, key) as client:
    for answer in client.decide_batch(requests(), portion=1000):
        told += 1
        errors += "error" in answer
        assert ("error" in answer) == ((told - 1) % 20 != 0)
        assert "error" not in answer or answer["error"]["line"] == told
        if told == lines // 10:
            early = memory()
print(json.dumps({"told": told, "errors": errors, "growth": memory() - early}))
"""

NODE = """
import { Client } from "nextbest-client";

const [url, key, lines] = process.argv.slice(2);

function* requests() {
  for (let number = 0; number < Number(lines); number++) {
    const good = { placement: "app_home", customer_id: `c-${number}`, dry_run: true };
    yield number % 20 === 0 ? good : "{broken";
  }
}

let told = 0, errors = 0, early = 0;
const client = new Client(url, { key });
for await (const answer of client.decideBatch(requests(), { portion: 1000 })) {
  told += 1;
  if ("error" in answer) errors += 1;
  if (("error" in answer) !== ((told - 1) % 20 !== 0)) throw new Error(JSON.stringify(answer));
  if ("error" in answer && answer.error.line !== told) throw new Error(JSON.stringify(answer));
  if (told === Number(lines) / 10) { global.gc(); early = process.memoryUsage().rss; }
}
global.gc();
console.log(JSON.stringify({ told, errors, growth: process.memoryUsage().rss - early }));
"""


@pytest.mark.soak
@pytest.mark.parametrize("client", ["python", "node"])
def test_a_million_lines_need_no_more_memory_than_a_tenth_of_them(
    client: str, contract: Contract, tmp_path: Path
) -> None:
    if client == "node" and node() is None:
        pytest.skip(MISSING)
    if client == "python":
        script, code, command, cwd = "batch.py", PYTHON, [sys.executable], tmp_path
    else:
        script, code, cwd = "batch.mjs", NODE, installed()
        command = [str(node()), "--expose-gc"]
    (cwd / script).write_text(code, "utf-8")
    done = subprocess.run(
        [*command, cwd / script, contract.url, contract.keys["all"], str(LINES)],
        env={"PYTHONPATH": str(ROOT / "clients" / "python" / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["told"], found["errors"]) == (LINES, LINES * 19 // 20)
    assert found["growth"] < GROWTH
    print(client, found)
