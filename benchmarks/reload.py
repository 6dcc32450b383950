"""What reloads cost the requests that are answered meanwhile, and whether any of them fails.

    python -m benchmarks.reload
    python -m benchmarks.reload --turns 200 --messages 20 --rules 20

A real server on an embedded Redis answers decisions at a fixed rate while its rules are replaced: a
sound policy and a broken one in turn. Between two reloads as much time passes without one, so both
are measured in the same run. Latencies count from when a request was due, so that a stall is seen in
every request that it held up. Prints requests, failures, versions seen, refusals, and the ratio of
the 99th percentile during reloads to that between them; ends with 1 where a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
CONNECTIONS: Final = 16
CUSTOMERS: Final = 2_000


def policy(messages: int, rules: int, turn: int) -> dict[str, str]:
    """The files of a policy; `turn` makes it a new version."""
    settings = f"""# turn {turn}
settings: {{timezone: UTC, currency: EUR, exploration: "off"}}
purposes: {{marketing: {{consent: opt_out}}, service: {{consent: not_required}}}}
channels: {{in_app: {{reservation: {{expires_after: 30m, then: release}}}}, push: {{cost: 0.01}}}}
placements: {{app_home: {{channels: [in_app], fallback: hello}}, outbound: {{channels: [push]}}}}
caps:
  twice: {{of: {{purpose: marketing}}, per: message, at_most: 2, within: 7d}}
  day: {{of: {{channel: push}}, at_most: 3, within: calendar day}}
"""
    lines = [
        "messages:",
        "  hello: {purpose: service, channels: [in_app], content: {title: Hello}}",
    ]
    for n in range(messages - 1):
        lines += [
            f"  m{n}:",
            "    purpose: marketing",
            f"    category: c{n % 20}",
            f"    tags: [t{n % 50}, u{n % 7}]",
            f"    channels: [{'in_app' if n % 2 else 'push'}]",
            f"    value: {1 + n % 30}",
            f"    when: {{customer.age: {{gte: {n % 40}}}, customer.country: {{in: [CN, C{n % 9}]}}}}",
            f"    content: {{title: \"Hello {{{{ customer.first_name | default('you') }}}} {n}\"}}",
        ]
    found = {"settings.yaml": settings, "messages.yaml": "\n".join(lines) + "\n"}
    lines = ["rules:"]
    tags = min(50, messages - 1)
    for n in range(rules):
        effect = f"boost: {{tags: [t{n % tags}]}}, by: 1.2"
        if not n % 2:
            effect = f"exclude: {{tags: [t{n % tags}], category: c{n % 3}}}"
        when = f"{{customer.score_{n % 40}: {{gte: {n % 100}}}, event.type: e{n % 25}}}"
        lines.append(f"  r{n}: {{when: {when}, {effect}}}")
    if rules:
        found["rules.yaml"] = "\n".join(lines) + "\n"
    return found


def write(folder: Path, files: dict[str, str]) -> None:
    """Puts the files there as an editor does."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        aside = folder / f".{name}"
        aside.write_text(text, "utf-8")
        aside.replace(folder / name)


class Load:
    """Decisions at a fixed rate, each on a connection that is free; remembers every answer."""

    def __init__(self, port: int, rate: float) -> None:
        self.port, self.rate = port, rate
        self.seen: list[tuple[float, float]] = []
        self.versions: Counter[str] = Counter()
        self.failures: list[str] = []
        self.stopped = False
        self._due: asyncio.Queue[tuple[int, float]] = asyncio.Queue()

    async def run(self) -> None:
        """Until told to stop."""
        clients = [asyncio.create_task(self._client()) for _ in range(CONNECTIONS)]
        due, number = time.perf_counter(), 0
        while not self.stopped:
            due += 1 / self.rate
            number += 1
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._due.put_nowait((number, due))
        for _ in clients:
            self._due.put_nowait((0, 0.0))
        await asyncio.gather(*clients)

    async def _client(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while (work := await self._due.get())[0]:
            number, due = work
            try:
                await self._ask(reader, writer, number, due)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures.append(repr(error))
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, due: float
    ) -> None:
        body = json.dumps(
            {
                "customer_id": f"c-{number * 7919 % CUSTOMERS}",
                "placement": "outbound" if number % 2 else "app_home",
                "event": {"type": f"e{number % 25}"},
            }
        ).encode()
        head = (
            b"POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        )
        writer.write(head + b"content-length: %d\r\n\r\n%s" % (len(body), body))
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        decision = json.loads(await reader.readexactly(length))
        self.seen.append((due, time.perf_counter() - due))
        if not answer.startswith(b"HTTP/1.1 200") or decision["degraded"] not in ([], ["model"]):
            self.failures.append(f"{answer[:60]!r} {json.dumps(decision)[:300]}")
        else:
            self.versions[decision["policy_version"]] += 1


def call(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    """(status, what came)."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as answer:
            body = answer.read()
            return answer.status, json.loads(body) if path != "/metrics" else body.decode()
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def metric(port: int, line: str) -> float:
    """A sample of /metrics; 0 where it is not there."""
    rows = [row for row in call(port, "/metrics")[1].splitlines() if row.startswith(line + " ")]
    return float(rows[0].rsplit(" ", 1)[1]) if rows else 0.0


async def measure(given: argparse.Namespace, folder: Path, port: int) -> dict[str, Any]:
    """Runs the turns under load."""
    rules = folder / "rules"
    load = Load(port, given.rate)
    task = asyncio.create_task(load.run())
    await asyncio.sleep(2)  # both sides are warm
    quiet: list[tuple[float, float]] = []
    busy: list[tuple[float, float]] = []
    accepted: set[str] = {(await asyncio.to_thread(call, port, "/v1/policy"))[1]["policy_version"]}
    refused = 0
    last = time.perf_counter() + given.seconds
    for turn in range(1, given.turns + 1):
        files = policy(given.messages, given.rules, turn)
        if turn % 2 == 0 and not given.only_sound:
            files["settings.yaml"] = files["settings.yaml"].replace("at_most: 2", "at_most: 0")
        write(rules, files)
        began = time.perf_counter()
        status, answer = await asyncio.to_thread(call, port, "/v1/policy/reload", "POST")
        if status == 200:
            accepted.add(answer["policy_version"])
        elif status == 409:
            refused += 1
        else:
            load.failures.append(f"reload: {status} {answer}")
        await asyncio.sleep(0.3)  # what is left to do after the swap counts, too
        ended = time.perf_counter()
        busy.append((began, ended))
        await asyncio.sleep(ended - began if given.pause is None else given.pause)
        quiet.append((ended, time.perf_counter()))
        if ended > last:
            break
    load.stopped = True
    await task
    unknown = sorted(set(load.versions) - accepted)
    return {
        "turns": turn,
        "requests": len(load.seen),
        "failures": len(load.failures),
        "first_failures": load.failures[:3],
        "versions_accepted": len(accepted),
        "versions_seen": len(load.versions),
        "versions_unknown": unknown,
        "refused": refused,
        "refusals_counted": metric(port, 'nextbest_policy_reloads_total{result="refused"}'),
        "reloads_counted": metric(port, 'nextbest_policy_reloads_total{result="ok"}'),
        "seconds_of_a_reload": sum(end - start for start, end in busy) / len(busy) - 0.3,
        "between": _latencies(load.seen, quiet),
        "during": _latencies(load.seen, busy),
    }


def _latencies(
    seen: list[tuple[float, float]], windows: list[tuple[float, float]]
) -> dict[str, float]:
    """Percentiles in ms of the requests that were due in one of the windows."""
    found = sorted(
        taken for due, taken in seen if any(start <= due < end for start, end in windows)
    )
    return {
        "requests": len(found),
        **{f"p{p}": found[min(len(found) - 1, len(found) * p // 100)] * 1e3 for p in (50, 90, 99)},
        "max": found[-1] * 1e3,
    }


def _start(given: argparse.Namespace, folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "decision.cli", "serve", "--rules", str(folder / "rules")]
    command += ["--models", str(folder / "models"), "--port", str(port)]
    command += ["--workers", str(given.workers), "--log-level", "error"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            if call(port, "/health/ready")[0] == 200:
                return server
        except OSError:
            pass
        time.sleep(0.1)
    server.kill()
    raise SystemExit("the server does not become ready")


def main() -> int:
    """Measures and prints; 1 where a request failed or a version was never accepted."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reload",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--turns", type=int, default=6, help="reloads, every second refused (6)")
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100, help="decisions a second (100)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3600, help="ends after so long (3600)")
    parser.add_argument(
        "--pause", type=float, help="seconds between reloads; left out: as long as one takes"
    )
    parser.add_argument("--only-sound", action="store_true", help="no broken policies")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    from benchmarks._http.machine import free_port

    with tempfile.TemporaryDirectory(prefix="nextbest-bench-") as name:
        folder, port = Path(name), free_port()
        (folder / "models").mkdir()
        write(folder / "rules", policy(given.messages, given.rules, 0))
        server = _start(given, folder, port)
        try:
            found = asyncio.run(measure(given, folder, port))
        finally:
            server.terminate()
            server.wait(60)
    found["ratio_p99"] = found["during"]["p99"] / found["between"]["p99"]
    if given.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:22} {_shown(value)}")
    return 1 if found["failures"] or found["versions_unknown"] else 0


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {number:,.1f}" for key, number in value.items())
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
