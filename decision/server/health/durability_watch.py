"""The look at the settings of Redis by which data may be lost.

Whoever never kept an append-only file chose so: that is a notice. To stop keeping it is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping

from decision.server.health.state import StoreHealth, trouble
from decision.store.health import ServerState


class DurabilityWatch:
    """`accepted` is what an operator chose before this server looked first: setting → its risk."""

    def __init__(self, health: StoreHealth) -> None:
        self.accepted: Mapping[str, str] | None = None
        self._health = health

    def look(self, state: ServerState) -> None:
        """Notes what the server says of its settings."""
        if self.accepted is None:
            self.accepted = state.risks if "appendonly" in state.risks else {}
        accepted = {
            name: text
            for name, text in state.risks.items()
            if name == "appendonly" and self.accepted.get(name) == text
        }
        self.accepted = accepted  # once it is kept, it is expected to be
        texts = [text for name, text in state.risks.items() if name not in accepted]
        code = ",".join(state.risks.keys() - accepted.keys())
        told = "; also, it ".join(texts)
        self._health.note("durability", trouble(code, f"Redis {told}") if texts else None)
        known = [f"Redis {text}" for text in accepted.values()]
        self._health.notice("durability", known[0] if known else None)
