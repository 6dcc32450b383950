"""The contract of all clients: its cases, and whether what a client did is what they say.

A client takes part by a runner: it is given one step after the other, as plain data, and says what
came of it. `{"gives": answer}`, or `{"fails": kind, …}` with what the error has. A step may also ask
for a single piece of the client.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.clients.faults import FaultyProxy

FOLDER = Path(__file__).resolve().parents[2] / "clients" / "contract"
CASES: list[dict[str, Any]] = YAML(typ="safe").load((FOLDER / "cases.yaml").read_text("utf-8"))
PIECES: dict[str, list[dict[str, Any]]] = YAML(typ="safe").load(
    (FOLDER / "pieces.yaml").read_text("utf-8")
)
_STEP = {
    "call",
    "with",
    "options",
    "key",
    "via",
    "gives",
    "fails",
    "asked",
    "save",
    "taken",
    "last",
}

Runner = Callable[[dict[str, Any]], Mapping[str, Any]]


class Contract:
    """A running server, a proxy before it that does damage, and keys."""

    def __init__(self, url: str, proxy: FaultyProxy, keys: Mapping[str, str]) -> None:
        self.url = url
        self.proxy = proxy
        self.keys = keys

    def broken(self, client: str, run: Runner) -> list[str]:
        """The cases that a client does not keep, and how."""
        found = []
        for case in CASES:
            try:
                self._keeps(client, case, run)
            except AssertionError as error:
                found.append(f"{case['case']}: {error}")
        return found

    def _keeps(self, client: str, case: Mapping[str, Any], run: Runner) -> None:
        me = f"{client}-{CASES.index(case)}"  # type: ignore[arg-type]
        names: dict[str, Any] = {"me": me, "megabyte": "x" * 1024 * 1024}
        for number, step in enumerate(case["steps"], 1):
            assert step.keys() <= _STEP, f"unknown keys in step {number} of {case['case']!r}"
            step = filled(step, names)
            token = f"{me}-{number}"
            key = step.get("key", "all")
            outcome = run(
                {
                    "url": self.proxy.address(step["via"], token) if "via" in step else self.url,
                    "key": self.keys[f"few-{client}" if key == "few" else key],
                    "call": step["call"],
                    "with": step.get("with", []),
                    "options": step.get("options", {}),
                }
            )
            place = f"step {number}, {step['call']}: {outcome}"
            if (fails := step.get("fails")) is not None:
                assert "fails" in outcome, place
                assert (problem := failure(fails, outcome)) is None, f"{place}: {problem}"
            else:
                assert "gives" in outcome, place
                problem = difference(step.get("gives"), outcome["gives"])
                assert problem is None, f"{place}: {problem}"
                if "last" in step:
                    problem = difference(step["last"], outcome["gives"][-1])
                    assert problem is None, f"{place}: the last: {problem}"
                for name, path in step.get("save", {}).items():
                    found = outcome["gives"]
                    names[name] = found[path] if path else found
            if "asked" in step:
                assert self.proxy.seen[token] == step["asked"], f"{place}: {self.proxy.seen[token]}"
            if "taken" in step:
                assert outcome["taken"] == step["taken"], place


def broken_pieces(run: Runner) -> list[str]:
    """The pieces of a client that give something else, and what."""
    found = []
    for piece, rows in PIECES.items():
        for row in rows:
            outcome = run({"piece": piece, "with": row["with"]})
            gives = outcome.get("gives", outcome.get("fails"))
            wanted = row["gives"]
            if piece == "wait" and isinstance(wanted, list):
                low, high = wanted
                good = gives is not None and low <= gives <= high
            else:
                good = gives == wanted
            if not good:
                found.append(f"{piece} of {row['with']} gives {gives!r}, not {wanted!r}")
    return found


def filled(value: Any, names: Mapping[str, Any]) -> Any:
    """The value with its `$names` replaced."""
    if isinstance(value, str):
        return re.sub(r"\$([a-z]+)", lambda found: str(names[found[1]]), value)
    if isinstance(value, dict):
        return {key: filled(inner, names) for key, inner in value.items()}
    return [filled(inner, names) for inner in value] if isinstance(value, list) else value


def failure(wanted: Any, outcome: Mapping[str, Any]) -> str | None:
    """What an error has otherwise than wanted."""
    if isinstance(wanted, list):
        return None if outcome["fails"] in wanted else f"is none of {wanted}"
    if isinstance(wanted, str):
        return None if outcome["fails"] == wanted else f"is not {wanted}"
    rows = dict(wanted["problem"])
    if outcome["fails"] != "problem":
        return "is no problem"
    paths = rows.pop("paths", None)
    if paths is not None and [one["path"] for one in outcome["errors"]] != paths:
        return f"the paths are not {paths}"
    if rows.pop("detail", "") not in outcome["detail"]:
        return f"the detail does not say {wanted['problem']['detail']!r}"
    if rows.pop("waits", False) and not outcome["retry_after"] > 1:
        return "nothing says after how many seconds to try again"
    return difference(rows, outcome)


def difference(wanted: Any, found: Any, path: str = "it") -> str | None:
    """What differs; objects may have more fields than are wanted, lists have the same length."""
    if wanted is None and path == "it":
        return None
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, inner in wanted.items():
            if key not in found:
                return f"{path} has no {key}"
            if (problem := difference(inner, found[key], f"{path}.{key}")) is not None:
                return problem
        return None
    if isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            return f"{path} has {len(found)} entries, not {len(wanted)}"
        for index, pair in enumerate(zip(wanted, found, strict=True)):
            if (problem := difference(*pair, f"{path}[{index}]")) is not None:
                return problem
        return None
    return None if wanted == found else f"{path} is {found!r}, not {wanted!r}"
