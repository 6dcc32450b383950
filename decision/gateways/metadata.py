"""What a mail carries for its provider, so that reports about it name the delivery.

Providers keep what these headers say, and take them out of the mail; the customer does not see
them.
"""

from __future__ import annotations

import json
from typing import Final

from decision.gateways.amazon import tag_value
from decision.gateways.protocol import GatewayConfig, Outgoing
from decision.gateways.report import CUSTOMER, VARIABLE
from decision.gateways.reports import ReportsConfig
from decision.gateways.smtp_connections import SmtpConfig

_LONGEST_LINE: Final = 900
_LONGEST_OF_POSTMARK: Final = 80

Rows = list[tuple[str, str]]


def rows_of(reports: ReportsConfig | None, outgoing: Outgoing) -> Rows:
    """The headers, by name; they are ASCII, and may be folded.

    What is too long for a provider is left out: then the report is matched by the log.

    >>> at = {"message": "", "channel": "", "content": {}}
    >>> mail = Outgoing(id="01J.hello", decision_id="01J", customer_id="ann", **at)
    >>> rows_of(ReportsConfig(provider="postmark"), mail)
    [('X-PM-Metadata-nextbest', '01J.hello'), ('X-PM-Metadata-nextbest-customer', 'ann')]
    """
    if reports is None:
        return []
    ids = {VARIABLE: outgoing.key, CUSTOMER: outgoing.customer_id}
    if reports.provider == "postmark":
        return [
            (f"X-PM-Metadata-{name}", one)
            for name, one in ids.items()
            if len(one) <= _LONGEST_OF_POSTMARK and one.isascii() and one.isprintable()
        ]
    if reports.provider == "ses":
        values = {name: tag_value(one) for name, one in ids.items()}
        tags = ", ".join(f"{name}={one}" for name, one in values.items() if one is not None)
        rows = [("X-SES-MESSAGE-TAGS", tags)] if tags else []
        named = reports.configuration_set
        return rows if named is None else [*rows, ("X-SES-CONFIGURATION-SET", named)]
    header = _HEADERS.get(reports.provider)
    if header is None:
        return []
    name, begin, end = header
    members = [f"{json.dumps(key)}: {json.dumps(one)}" for key, one in ids.items()]
    fitting = [one for one in members if len(one) <= _LONGEST_LINE]
    folded = ",\r\n ".join(fitting)
    return [(name, f"{begin}{{{folded}}}{end}")] if fitting else []


def names_needed(config: GatewayConfig) -> bool:
    """Whether reports may bring back the provider's id alone: mails carry ours, and your own
    service knows it."""
    reports = config.reports
    named = reports is None or reports.provider == "webhook"
    return not named and not isinstance(config, SmtpConfig)


_HEADERS: Final = {
    "brevo": ("X-Mailin-custom", "", ""),
    "mailgun": ("X-Mailgun-Variables", "", ""),
    "sendgrid": ("X-SMTPAPI", '{"unique_args": ', "}"),
    "sparkpost": ("X-MSYS-API", '{"metadata": ', "}"),
}
"""Provider → its header, and what stands around the ids in JSON."""
