"""A mail names its delivery to its provider, so that reports about it name it too."""

from __future__ import annotations

import json
from email.message import EmailMessage
from typing import Any

import pytest

from decision.gateways.report_shapes import SHAPES
from tests.gateways.outgoing import outgoing
from tests.gateways.test_smtp import HTML, deliver

PROOF = {
    "sendgrid": "public_key: MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0ObrPrfwL/37SbZ52HNp4Gq0j2j4Nu8L"
    "vcNuazePhgFJlNnuk20Efm67BHVVQVNUGyPDrchn8IvF24ccppLpbw==",
    "ses": "topic: 'arn:aws:sns:eu-west-1:123456789012:mails', configuration_set: shop",
}
PROVIDERS = ("brevo", "mailgun", "postmark", "sendgrid", "ses", "sparkpost")


def echo(provider: str, mail: EmailMessage) -> Any:
    """A report of a provider that has kept what the headers of a mail say."""
    if provider == "mailgun":
        variables = json.loads(mail["X-Mailgun-Variables"])
        event = {"event": "opened", "user-variables": variables}
        return {"event-data": event, "signature": {"token": "t"}}
    if provider == "postmark":
        begins = "x-pm-metadata-"
        meta = {
            name.lower().removeprefix(begins): str(value)
            for name, value in mail.items()
            if name.lower().startswith(begins)
        }
        return {"RecordType": "Open", "Metadata": meta}
    if provider == "brevo":
        return {"event": "opened", "X-Mailin-custom": str(mail["X-Mailin-custom"])}
    if provider == "sparkpost":
        meta = json.loads(mail["X-MSYS-API"])["metadata"]
        return [{"msys": {"track_event": {"type": "open", "rcpt_meta": meta}}}]
    if provider == "sendgrid":
        return [{"event": "open", **json.loads(mail["X-SMTPAPI"])["unique_args"]}]
    assert mail["X-SES-CONFIGURATION-SET"] == "shop"
    rows = [one.partition("=") for one in mail["X-SES-MESSAGE-TAGS"].split(", ")]
    event = {"eventType": "Open", "mail": {"tags": {name: [value] for name, _, value in rows}}}
    return {"message": {"MessageId": "1", "Timestamp": "2026-11-18T11:06:40Z"}, "event": event}


def mail_for(provider: str, customer: str = "c-1024", more: str = "") -> EmailMessage:
    proof = PROOF.get(provider, "secret: 'a-secret-of-enough-characters'")
    reports = f"encryption: none, reports: {{from: {provider}, {proof}}}{more}"
    _, server = deliver(outgoing(content=HTML, customer_id=customer), more=reports)
    return server.mail()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_report_names_the_delivery_that_its_mail_named(provider: str) -> None:
    [report] = SHAPES[provider](echo(provider, mail_for(provider)))
    assert (report.delivery, report.customer) == (outgoing().id, "c-1024")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "customer", ["李 雷", 'a"},\r\nBcc: x@example.com', "x" * 256, "\U0001f375" * 256]
)
def test_no_customer_id_breaks_a_header(provider: str, customer: str) -> None:
    mail = mail_for(provider, customer)
    assert mail["Bcc"] is None and mail.defects == []
    assert all(len(row) < 998 for row in mail.as_bytes().splitlines())
    [report] = SHAPES[provider](echo(provider, mail))
    assert report.delivery == outgoing().id and report.customer in (customer, None)


def test_a_header_of_the_settings_stays() -> None:
    mail = mail_for("mailgun", more=", headers: {x-mailgun-variables: '{\"mine\": 1}'}")
    assert mail.get_all("X-Mailgun-Variables") == ['{"mine": 1}']


def test_a_mail_without_reports_carries_nothing() -> None:
    _, server = deliver(outgoing(content=HTML))
    assert not [name for name in server.mail() if name.lower().startswith(("x-", "feedback"))]
