"""A delivery to try gateways with."""

from __future__ import annotations

from typing import Any

from decision.gateways import Outgoing

DECISION = "01JD8Z4X9Q0000000000000000"
AT = 1_795_000_000_000_000  # 2026-11-18T11:06:40Z


def outgoing(**changed: Any) -> Outgoing:
    fields: dict[str, Any] = {
        "id": f"{DECISION}.hello",
        "decision_id": DECISION,
        "message": "hello",
        "channel": "push",
        "customer_id": "c-1024",
        "content": {"title": "Hello", "body": "It is tea time"},
        "attributes": {"phone": "+4915112345678", "first_name": "Ann"},
        "aliases": {"email": ["ann@example.com"], "wechat_openid": ["o-123"]},
        "language": "en",
        "purpose": "marketing",
        "category": "tea",
        "placement": "outbound",
        "at": AT,
    }
    return Outgoing(**{**fields, **changed})
