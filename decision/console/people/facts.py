"""What a customer's page shows of consents. Pure."""

from __future__ import annotations

from typing import NamedTuple

from decision.core import consent
from decision.core.clock import from_micros
from decision.core.document import Document
from decision.core.policy import Policy


class ConsentCell(NamedTuple):
    """A purpose on a channel. `state`: granted, denied, or "" where nothing was said."""

    channel: str
    allowed: bool
    state: str
    at: object
    source: str
    evidence: str


class ConsentLine(NamedTuple):
    """A purpose, what consent it needs, and its channels."""

    purpose: str
    needs: str
    source: str
    cells: list[ConsentCell]


def consent_lines(policy: Policy, document: Document) -> list[ConsentLine]:
    """Every purpose of the rules on every channel: whether it may be used, and by what."""
    lines = []
    for purpose in policy.purposes.values():
        cells = []
        for channel in policy.channels:
            said = consent.statement(document.consents, purpose.name, channel)
            cells.append(
                ConsentCell(
                    channel=channel,
                    allowed=consent.permits(purpose, document.consents, channel),
                    state="" if said is None else "granted" if said.granted else "denied",
                    at=from_micros(said.at) if said is not None and said.at else None,
                    source="" if said is None else said.source,
                    evidence="" if said is None else said.evidence,
                )
            )
        lines.append(ConsentLine(purpose.name, purpose.consent, purpose.source, cells))
    return lines
