"""The calls of `nextbest demo`: printed to be tried, or made to see whether all is well."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import rich_click as click

from decision.cli.output import console, say

if TYPE_CHECKING:
    from decision.simulation.sample import Calls

OUTBOX: Final = ".nextbest/outbox"
SENT: Final = "It was sent: without a gateways file, to a line of a file."
FOLLOWS: Final = "A journey: somebody follows the shop on WeChat, and is greeted."
SENT_WITHIN: Final = 30.0
"""Seconds in which what was decided must have been sent."""


def show(url: str, calls: Calls) -> None:
    """Prints the calls, ready to paste."""
    out = console()
    decide, *others = calls.commands(url)
    # Before the click: what somebody has clicked is not sent any more.
    sent = (SENT, f"sleep 1; grep -h $id {OUTBOX}/*.ndjson")
    for title, command in (decide, sent, *others):
        out.print(f"[bold cyan]# {title}[/]")
        out.print(f"{command}\n", markup=False, soft_wrap=True)
    out.print(f"[dim]Every other call: {url}/schema[/]")


def make_calls(url: str, calls: Calls) -> bool:
    """Makes the calls, prints what is answered and sent; whether all is as it should be."""
    import json

    from decision.cli.explain import ask_server
    from decision.cli.explain import show as show_decision
    from decision.cli.http import call

    def ask(title: str, path: str, body: object) -> tuple[int, dict[str, object]]:
        status, answer = call(url + path, body)
        click.echo(f"# {title}\n{status} {json.dumps(answer, ensure_ascii=False)}\n")
        return status, answer if isinstance(answer, dict) else {}

    status, decision = ask(calls.titles[0], "/v1/decisions", calls.request)
    selected = status == 200 and decision.get("outcome") == "selected"
    decision_id = str(decision.get("decision_id"))
    sent = _wait_until_sent(decision_id)
    click.echo(f"# {SENT} ({OUTBOX}/*.ndjson)\n{sent or 'nothing'}\n")
    status, answer = ask(calls.titles[1], "/v1/events", {"events": [calls.event(decision_id)]})
    recorded = status == 202 and answer.get("accepted") == 1
    click.echo(f"# {calls.titles[2]}")
    told = ask_server(url, decision_id, None)
    show_decision(told)
    explained = any(row.reason is None for row in told.explanation or ())
    ask(FOLLOWS, "/v1/events", {"events": [calls.follow]})
    greeted = _wait_until_sent(str(calls.follow["customer_id"]))
    click.echo(f"# {SENT} ({OUTBOX}/*.ndjson)\n{greeted or 'nothing'}\n")
    checks = {
        "decide": selected,
        "event": recorded,
        "why": explained,
        "deliver": bool(sent),
        "journey": bool(greeted),
    }
    for what, fine in checks.items():
        say(f"{what}: {'fine' if fine else 'WRONG'}")
    return all(checks.values())


def _wait_until_sent(named: str) -> str:
    """The line that names a decision, or a customer; nothing where none comes in time."""
    deadline = time.monotonic() + SENT_WITHIN
    while time.monotonic() < deadline:
        for path in sorted(Path(OUTBOX).glob("*.ndjson")):
            for line in reversed(path.read_text().splitlines()):
                if named in line:
                    return line
        time.sleep(0.05)
    return ""
