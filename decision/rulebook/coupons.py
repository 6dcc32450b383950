"""`coupons:`: pools of codes, each of which is given once."""

from __future__ import annotations

from decision.core.definition import CouponPool
from decision.rulebook import readings
from decision.rulebook.checker import Checker
from decision.rulebook.yaml_source import Node


def read_pool(checker: Checker, name: str, node: Node) -> CouponPool:
    """One of `coupons:`. The codes are not in rule files: they are loaded."""
    what = f'coupon pool "{name}"'
    if node.value is None:  # has no settings
        return CouponPool(name=name, source=node.key.label)
    if isinstance(node.value, dict) and "codes" in node.value:
        place = node.value["codes"].key
        hint = f"delete the key, and load a file of codes: nextbest coupons load {name} codes.csv"
        checker.error("unknown-key", place, f"{what} cannot hold its codes", hint)
        node.value.pop("codes")
    if not isinstance(node.value, dict) and not readings.duration(str(node.plain())):
        hint = f"write {{}}; load the codes: nextbest coupons load {name} codes.csv"
        checker.wrong_type(node, what, "a mapping of settings", hint)
        return CouponPool(name=name, source=node.key.label)
    with checker.entry(node, what) as entry:
        return CouponPool(
            name=name,
            source=node.key.label,
            give_back_after=entry.read("give_back_after", Checker.duration, None),
        )
