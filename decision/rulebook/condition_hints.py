"""What people write in conditions, and how the language says it: for hints only."""

from __future__ import annotations

import re
from typing import Any, Final

from decision.core.conditions import OPERATORS
from decision.core.fields import DATE_MEASURES
from decision.rulebook import readings
from decision.rulebook.comparisons import no_version
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.doubtful import wildcard
from decision.rulebook.namesakes import Names, asked
from decision.rulebook.readings import as_yaml
from decision.rulebook.yaml_source import Node

_MEANT: Final = {
    written: operator
    for operator, several in (
        ("eq", ("=", "==", "is", "equal", "equals", "equal_to", "等于")),
        ("ne", ("!=", "<>", "is_not", "not", "not_equal", "neq", "不等于")),
        ("gt", (">", "more_than", "greater_than", "greater", "after", "above", "大于")),
        ("gte", (">=", "at_least", "min", "from", "since", "ge")),
        ("lt", ("<", "less_than", "less", "before", "below", "小于")),
        ("lte", ("<=", "at_most", "max", "to", "until", "le")),
        ("in", ("one_of",)),
        ("not_in", ("not in", "none_of", "nin")),
        ("contains", ("has", "includes", "contain", "include", "包含")),
        ("matches", ("regex", "match", "like")),
        ("exists", ("is_set", "present")),
        ("vgt", ("version_gt", "v>")),
        ("vgte", ("version_gte", "v>=")),
        ("vlt", ("version_lt", "v<")),
        ("vlte", ("version_lte", "v<=")),
        ("veq", ("version", "semver", "version_eq", "v=")),
        ("vne", ("version_ne", "v!=")),
    )
    for written in several
}
"""What people write → the operator they mean."""

_STARTS: Final = ("starts_with", "startswith", "begins_with", "prefix", "开头是")
_JOINED: Final = {"or": "any", "and": "all", "oder": "any", "und": "all", "或": "any", "且": "all"}
_EQUALS: Final = re.compile(r"([a-z]+\.[\w.-]+?)\s*((?:[<>!=]=?|is\s).*)")
"""A comparison without a colon: `customer.age >= 30`."""
_NAME: Final = re.compile(r"[a-z]+\.[\w.-]+")


def joining(key: str, node: Node) -> str:
    """A hint for `or`, `and` and the like; empty for other keys."""
    joined = _JOINED.get(key.lower(), "")
    if not joined:
        return ""
    if isinstance(node.value, list):
        return f"write {as_yaml({joined: node.plain()})}"
    if isinstance(node.value, dict):
        parts = [{one: it.plain()} for one, it in node.value.items()]
        return f"write {as_yaml({joined: parts})}"
    return f"write {joined}: [{{…}}, {{…}}]"


def for_no_value(name: str) -> str:
    """A hint for a field without a value."""
    if compared := _EQUALS.fullmatch(name):
        operator = readings.comparison(compared[2])
        bare = operator.get("eq", None)
        return f"write {as_yaml({compared[1]: operator if bare is None else bare})}"
    return f"add a value, or write {name}: {{exists: false}} if the field must be missing"


def for_list(name: str, node: Node) -> str:
    """A hint for a field whose value is a list."""
    if not any(isinstance(item.value, dict) for item in node.value):
        return f"write {as_yaml({name: {'in': node.plain()}})}"
    rows = [item.plain() for item in node.value]
    if any(not str(key).count(".") for row in rows for key in row or ()):
        rows = [{name: row} for row in rows]
    return f"for alternatives, write {as_yaml({'any': rows})}"


def for_operator(name: str, operator: str, operand: Node) -> str:
    """A hint for an operator that does not exist, of the field `name`."""
    shown = operand.plain()
    if operator == "field":
        return f"write {{eq: {{field: {operand.value}}}}}"
    if operator == "not" and isinstance(operand.value, dict):
        return f"write {as_yaml({'not': {name: shown}})}"
    if fix := _of_versions(operator, shown):
        return f"write {{{fix}}}"
    if meant := _MEANT.get(operator):
        if operator == "like" and isinstance(shown, str):
            shown = wildcard(shown, "%")["matches"]
        return f'did you mean "{meant}"?; write {{{as_yaml({meant: shown})}}}'
    if operator in DATE_MEASURES and name.startswith("customer."):
        return f"write {as_yaml({f'{name}.{operator}': shown})}"
    if (
        operator in ("within", "in_days")
        and name.startswith("customer.")
        and isinstance(shown, str)
    ):
        days = readings.duration(shown).removesuffix("d")
        if days.isdigit():
            return f"write {as_yaml({f'{name}.anniversary_in': {'lte': int(days)}})}"
    if operator in _STARTS and isinstance(shown, str):
        return f"write {{{as_yaml(wildcard(f'{shown}*', '*'))}}}"
    if operator == "between":
        return _between(shown)
    if operator.isdigit() and shown is None:
        return "numbers have no comma; write 10000 or 12.5"
    return hint_for(operator, OPERATORS)


def _of_versions(operator: str, value: Any) -> str:
    """What versions are compared with, for `vin`, `vbetween`, `semver` and `version`; or ""."""
    if operator == "vin" and isinstance(value, list):
        return as_yaml({"in": [str(one) for one in value]})
    if operator in ("vbetween", "version_between") and isinstance(value, list) and len(value) == 2:
        return as_yaml({"vgte": str(value[0]), "vlte": str(value[1])})
    if operator in ("version", "semver", "版本"):
        if isinstance(value, dict) and len(value) == 1:
            inner, wanted = next(iter(value.items()))
            found = _MEANT.get(inner, inner)
            return as_yaml({f"v{found}": str(wanted)}) if f"v{found}" in OPERATORS else ""
        hint = no_version("veq", value) if isinstance(value, str) else ""
        return hint[len("write {") : -1] if hint.startswith("write {") else ""
    return ""


def _between(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"write {{{as_yaml({'gte': value[0], 'lte': value[1]})}}}"
    return "write {gte: 30, lte: 40}"


def for_mapping(value: Any, names: Names, what: str = "") -> str:
    """A hint for a condition `what` that was written as a list, or as a text."""
    if value is None:
        return "write {} if it always applies"
    listed = value if isinstance(value, list) else [value]
    texts = [one for one in listed if isinstance(one, str)]
    if texts and what.startswith("unless of quiet_hours") and set(texts) <= set(names["purposes"]):
        return f"write {as_yaml({'except': texts})}"
    conditions = [asked(one, names) for one in texts]
    if texts and len(texts) == len(listed) and all(conditions):
        several: dict[str, Any] = {"any": conditions}
        return f"write {{{as_yaml(several if len(conditions) > 1 else conditions[0])}}}"
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return f"write {{{as_yaml({'all': value})}}}, or any: […] if one is enough"
    if isinstance(value, str) and "." in value and (found := _EQUALS.fullmatch(value)):
        return f"write {{{as_yaml({found[1]: readings.comparison(found[2])})}}}"
    if isinstance(value, str) and _NAME.fullmatch(value):
        return f"write {{{value}: true}}"
    if what.startswith("when of derived event ") and len(texts) == len(listed):
        wanted = {"in": texts} if isinstance(value, list) else value
        fix = as_yaml({"event.category": wanted})
        return f"write {{{fix}}}; category stands for the name of a property"
    return "write a field with a value, such as {customer.tier: gold}"
