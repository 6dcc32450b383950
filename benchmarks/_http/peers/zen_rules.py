"""zen-engine on the standard's rules, as one decision table: µs of CPU of evaluating all of them.

    python -m benchmarks._http.peers.zen_rules <DATA.json

DATA.json has `rules` as the service reads them, the `values` of the fields, and the numbers of the
rules that hold, `fired`. Prints a number.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import zen

from benchmarks._http.timing import cost

_SIGNS = {"gt": ">", "gte": ">=", "eq": "=="}


def table_of(rules: list[dict[str, Any]]) -> dict[str, Any]:
    """A decision graph of one table: a column for each field, a row for each rule."""
    fields = sorted({field for rule in rules for field, _, _ in rule["when"]})
    columns = [{"id": field, "name": field, "field": field} for field in fields]
    rows = []
    for number, rule in enumerate(rules):
        tests = {
            field: f"{_SIGNS[sign]} {json.dumps(bound)}" for field, sign, bound in rule["when"]
        }
        rows.append(
            {"_id": str(number), **{f: tests.get(f, "") for f in fields}, "rule": str(number)}
        )
    table = {
        "hitPolicy": "collect",
        "inputs": columns,
        "outputs": [{"id": "rule", "name": "rule", "field": "rule"}],
        "rules": rows,
    }
    nodes = [
        {"id": "in", "type": "inputNode", "name": "in", "position": {"x": 0, "y": 0}},
        {"id": "rules", "type": "decisionTableNode", "name": "rules", "content": table},
        {"id": "out", "type": "outputNode", "name": "out", "position": {"x": 2, "y": 0}},
    ]
    nodes[1]["position"] = {"x": 1, "y": 0}
    edges = [
        {"id": "1", "type": "edge", "sourceId": "in", "targetId": "rules"},
        {"id": "2", "type": "edge", "sourceId": "rules", "targetId": "out"},
    ]
    return {"contentType": "application/vnd.gorules.decision", "nodes": nodes, "edges": edges}


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """{"customer.a1": 2} as {"customer": {"a1": 2}}."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        *within, name = path.split(".")
        place = found
        for each in within:
            place = place.setdefault(each, {})
        place[name] = value
    return found


def main() -> None:
    """Times evaluating the table, after it has fired what nextbest fires."""
    data = json.load(sys.stdin)
    decision = zen.ZenEngine().create_decision(json.dumps(table_of(data["rules"])))
    given = nested(data["values"])
    fired = [str(row["rule"]) for row in decision.evaluate(given)["result"]]
    assert fired == data["fired"], f"zen-engine fires {fired}, nextbest {data['fired']}"
    print(cost(lambda: decision.evaluate(given)))


if __name__ == "__main__":
    main()
