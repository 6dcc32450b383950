"""What providers report, as django-anymail reads it: type of event, reason, and what is permanent.

The payloads are our own, in the providers' forms; each was read by django-anymail as well, once.
Where the two differ, the row says why.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.gateways.report import EVENT_TYPES, Report
from decision.gateways.report_shapes import SHAPES
from decision.gateways.reports import event_ids

PERMANENT = True


def mailgun(event: str, **more: Any) -> Any:
    return {"signature": {"token": "t"}, "event-data": {"event": event, **more}}


def sendgrid(event: str, **more: Any) -> Any:
    return [{"event": event, "sg_event_id": "e", "timestamp": 1_700_000_000, **more}]


def postmark(record: str, **more: Any) -> Any:
    return {"RecordType": record, "MessageID": "883953f4", "ID": 4323, **more}


def brevo(event: str, **more: Any) -> Any:
    return {"event": event, "ts_epoch": 1_700_000_000_000, "message-id": "<m@example.com>", **more}


def sparkpost(type: str, **more: Any) -> Any:
    return [{"msys": {"message_event": {"type": type, "event_id": "92", **more}}}]


def ses(type: str, key: str = "eventType", **about: Any) -> Any:
    name = "failure" if type == "Rendering Failure" else type.lower()
    message = {"MessageId": "m", "Timestamp": "2026-11-18T11:06:40.101Z"}
    event = {key: type, name: about, "mail": {"messageId": "0100", "destination": ["a@x.example"]}}
    return {"message": message, "event": event}


def twilio(status: str, code: str | None = None) -> Any:
    return {"MessageSid": "SM1", "MessageStatus": status, **({"ErrorCode": code} if code else {})}


def of_postmark(*types: tuple[str, str, str | None]) -> list[tuple[Any, ...]]:
    return [
        (postmark(record, **{key: type}), kind, reason, type == "HardBounce")
        for type, kind, reason in types
        for record, key in (
            ("Bounce", "Type"),
            ("SpamComplaint", "Type"),
            ("SubscriptionChange", "SuppressionReason"),
        )
    ]


CASES: dict[str, list[tuple[Any, ...]]] = {
    "mailgun": [
        (mailgun("accepted"), "queued", None),
        (mailgun("delivered"), "delivered", None),
        (mailgun("opened"), "opened", None),
        (mailgun("clicked", url="https://x.example"), "clicked", None),
        (mailgun("unsubscribed"), "unsubscribed", None),
        (mailgun("complained"), "complained", None),
        (mailgun("stored"), "unknown", None),
        (mailgun("rejected"), "rejected", "other"),
        (mailgun("rejected", reject={"reason": "Sandbox subdomains"}), "rejected", "other"),
        (mailgun("failed", severity="temporary", reason="generic"), "deferred", "other"),
        (mailgun("failed", severity="temporary", reason="bounce"), "deferred", "bounced"),
        (mailgun("failed", severity="permanent", reason="bounce"), "bounced", "bounced", PERMANENT),
        (mailgun("failed", reason="suppress-bounce"), "bounced", "bounced", PERMANENT),
        (mailgun("failed", severity="permanent", reason="generic"), "bounced", "other"),
        (mailgun("failed", reason="suppress-complaint"), "bounced", "other"),
        (mailgun("failed"), "bounced", None),
    ],
    "sendgrid": [
        (sendgrid("processed"), "queued", None),
        (sendgrid("deferred", response="451 later"), "deferred", None),
        (sendgrid("delivered", response="250 OK"), "delivered", None),
        (sendgrid("bounce", type="bounce", reason="550 5.1.1"), "bounced", None, PERMANENT),
        (sendgrid("bounce", reason="550 5.1.1"), "bounced", None, PERMANENT),
        (sendgrid("bounce", type="blocked"), "bounced", None),
        (sendgrid("bounce", type="expired"), "bounced", None),
        (sendgrid("dropped", reason="Invalid"), "rejected", "invalid"),
        (sendgrid("dropped", reason="Unsubscribed Address"), "rejected", "unsubscribed"),
        (sendgrid("dropped", reason="Bounced Address"), "rejected", "bounced"),
        (sendgrid("dropped", type="bounce", reason="550 5.1.1"), "rejected", "bounced"),
        (sendgrid("dropped", type="blocked"), "rejected", "blocked"),
        (sendgrid("dropped", type="expired"), "rejected", "timed_out"),
        (sendgrid("dropped", reason="Spam Reporting Address"), "rejected", "other"),
        (sendgrid("dropped"), "rejected", "other"),
        (sendgrid("open"), "opened", None),
        (sendgrid("click", url="https://x.example"), "clicked", None),
        (sendgrid("spamreport"), "complained", None),
        (sendgrid("unsubscribe"), "unsubscribed", None),
        (sendgrid("group_unsubscribe", asm_group_id=7), "unsubscribed", None),
        (sendgrid("group_resubscribe"), "subscribed", None),
        (sendgrid("new"), "unknown", None),
    ],
    "postmark": [
        (postmark("Delivery", DeliveredAt="2026-11-18T11:06:40Z"), "delivered", None),
        (postmark("Open"), "opened", None),
        (postmark("Click", OriginalLink="https://x.example"), "clicked", None),
        (postmark("Bounce"), "bounced", None),
        (postmark("SpamComplaint"), "complained", None),
        (postmark("SubscriptionChange", SuppressSending=True), "unsubscribed", None),
        (postmark("SubscriptionChange", SuppressSending=False), "subscribed", None),
        (postmark("Inbox"), "unknown", None),
        (postmark("Bounce", Type="NewType"), "bounced", None),
        # django-anymail calls it inbound_failed.
        (postmark("Bounce", Type="InboundError"), "unknown", None),
        *of_postmark(
            ("HardBounce", "bounced", "bounced"),
            ("SoftBounce", "bounced", "bounced"),
            ("Transient", "deferred", None),
            ("DnsError", "deferred", None),
            ("OpenRelayTest", "deferred", None),
            ("Unsubscribe", "unsubscribed", "unsubscribed"),
            ("ManualSuppression", "unsubscribed", "unsubscribed"),
            ("Subscribe", "subscribed", None),
            ("AutoResponder", "autoresponded", None),
            ("AddressChange", "autoresponded", None),
            ("ChallengeVerification", "autoresponded", None),
            ("SpamNotification", "complained", "spam"),
            ("SpamComplaint", "complained", "spam"),
            ("VirusNotification", "bounced", "other"),
            ("BadEmailAddress", "rejected", "invalid"),
            ("ManuallyDeactivated", "rejected", "blocked"),
            ("Blocked", "rejected", "blocked"),
            ("DMARCPolicy", "rejected", "blocked"),
            ("Unconfirmed", "rejected", None),
            ("SMTPApiError", "failed", None),
            ("TemplateRenderingFailed", "failed", None),
            ("Unknown", "unknown", None),
        ),
    ],
    "brevo": [
        (brevo("request"), "queued", None),
        (brevo("delivered"), "delivered", None),
        (brevo("deferred"), "deferred", None),
        (brevo("hard_bounce"), "bounced", "bounced", PERMANENT),
        (brevo("soft_bounce"), "bounced", "bounced"),
        (brevo("invalid_email"), "bounced", "invalid", PERMANENT),
        (brevo("blocked"), "rejected", "blocked"),
        (brevo("error"), "failed", None),
        (brevo("spam"), "complained", "spam"),
        (brevo("complaint"), "complained", "spam"),
        (brevo("opened"), "opened", None),
        (brevo("unique_opened"), "opened", None),
        (brevo("proxy_open"), "opened", None),
        (brevo("unique_proxy_open"), "opened", None),
        (brevo("click", link="https://x.example"), "clicked", None),
        (brevo("unsubscribe"), "unsubscribed", None),
        (brevo("list_addition"), "subscribed", None),
        (brevo("new"), "unknown", None),
    ],
    "sparkpost": [
        *(
            (sparkpost(type), kind, None)
            for type, kind in (
                ("injection", "queued"),
                ("delivery", "delivered"),
                ("delay", "deferred"),
                ("bounce", "bounced"),
                ("out_of_band", "bounced"),
                ("policy_rejection", "rejected"),
                ("generation_rejection", "rejected"),
                ("generation_failure", "failed"),
                ("spam_complaint", "complained"),
                ("open", "opened"),
                ("amp_open", "opened"),
                ("click", "clicked"),
                ("amp_click", "clicked"),
                ("list_unsubscribe", "unsubscribed"),
                ("link_unsubscribe", "unsubscribed"),
                ("initial_open", "unknown"),  # comes beside the `open` of the same moment
                ("sms_status", "unknown"),
            )
        ),
        *(
            (sparkpost("bounce", bounce_class=number), kind, reason, number in ("10", "30"))
            for number, kind, reason in (
                ("1", "bounced", "other"),
                ("10", "bounced", "invalid"),
                ("20", "bounced", "bounced"),
                ("21", "bounced", "bounced"),
                ("22", "bounced", "bounced"),
                ("23", "bounced", "bounced"),
                ("24", "bounced", "timed_out"),
                ("25", "bounced", "blocked"),
                ("30", "bounced", "bounced"),
                ("40", "bounced", "bounced"),
                ("50", "bounced", "blocked"),
                ("51", "bounced", "spam"),
                ("52", "bounced", "spam"),
                ("53", "bounced", "other"),
                ("54", "bounced", "blocked"),
                ("60", "autoresponded", "other"),
                ("70", "bounced", "bounced"),
                ("80", "subscribed", "other"),
                ("90", "unsubscribed", "unsubscribed"),
                ("100", "autoresponded", "other"),
                ("999", "bounced", "other"),
            )
        ),
        # django-anymail knows classes as texts alone.
        (sparkpost("bounce", bounce_class=10), "bounced", "invalid", PERMANENT),
        (sparkpost("delay", bounce_class="22"), "deferred", "bounced"),
    ],
    "ses": [
        row
        for key in ("eventType", "notificationType")
        for row in (
            (ses("Send", key), "sent", None),
            (ses("Delivery", key, recipients=["a@x.example"]), "delivered", None),
            (ses("Bounce", key, bounceType="Permanent"), "bounced", "bounced", PERMANENT),
            (ses("Bounce", key, bounceType="Transient"), "bounced", "bounced"),
            (ses("Bounce", key, bounceType="Undetermined"), "bounced", "bounced"),
            (ses("Complaint", key, complaintFeedbackType="abuse"), "complained", "spam"),
            (ses("Complaint", key), "complained", "spam"),
            (ses("Reject", key, reason="Bad content"), "rejected", "blocked"),
            (ses("Open", key, userAgent="Mail"), "opened", None),
            (ses("Click", key, link="https://x.example"), "clicked", None),
            (ses("Rendering Failure", key, errorMessage="no such field"), "failed", None),
            (ses("Subscription", key), "unknown", None),
            # django-anymail does not know it.
            (ses("DeliveryDelay", key, delayType="MailboxFull"), "deferred", None),
        )
    ],
    # django-anymail has no SMS; these are Twilio's own words.
    "twilio": [
        *(
            (twilio(status), "queued", None)
            for status in ("accepted", "scheduled", "queued", "sending")
        ),
        (twilio("sent"), "sent", None),
        (twilio("delivered"), "delivered", None),
        (twilio("read"), "opened", None),
        (twilio("received"), "unknown", None),
        (twilio("canceled"), "failed", "other"),
        (twilio("failed", "30008"), "failed", "other"),
        (twilio("failed", "21610"), "failed", "unsubscribed"),
        (twilio("undelivered", "21610"), "bounced", "unsubscribed"),
        (twilio("undelivered", "30003"), "bounced", "bounced"),
        (twilio("undelivered", "30007"), "bounced", "blocked"),
        (twilio("undelivered", "30004"), "bounced", "blocked"),
        (twilio("failed", "30001"), "failed", "timed_out"),
        (twilio("undelivered", "30005"), "bounced", "invalid", PERMANENT),
        (twilio("undelivered", "30006"), "bounced", "invalid", PERMANENT),
        (twilio("failed", "30006"), "bounced", "invalid", PERMANENT),
        (twilio("delivered", "30005"), "delivered", None),
    ],
}


@pytest.mark.parametrize("provider", CASES)
def test_types_and_reasons_are_those_of_anymail(provider: str) -> None:
    for data, kind, reason, *permanent in CASES[provider]:
        [report] = SHAPES[provider](data)
        found = (report.kind, report.reject_reason, report.permanent)
        assert found == (kind, reason, any(permanent)), json.dumps(data)


@pytest.mark.parametrize(
    ("provider", "data", "machine"),
    [
        ("mailgun", mailgun("opened", **{"client-info": {"bot": "apple"}}), True),
        ("mailgun", mailgun("opened", **{"client-info": {"bot": ""}}), False),
        ("sendgrid", sendgrid("open", sg_machine_open=True), True),
        ("sendgrid", sendgrid("open", sg_machine_open=False), False),
        ("sparkpost", sparkpost("open", is_prefetched=True), True),
        ("sparkpost", sparkpost("open", user_agent_parsed={"is_prefetched": True}), True),
        ("sparkpost", sparkpost("open", user_agent_parsed=None), False),
        ("brevo", brevo("unique_proxy_open"), True),
        ("brevo", brevo("opened"), False),
        ("postmark", postmark("Open", UserAgent="Mozilla/5.0"), True),
        ("postmark", postmark("Open", UserAgent="Mozilla/5.0 (Macintosh)"), False),
        ("ses", ses("Click", userAgent="Barracuda Sentinel (EE)"), True),
        ("ses", ses("Click", userAgent="Mozilla/5.0 (iPhone)"), False),
        ("ses", ses("Complaint", userAgent="Barracuda Sentinel (EE)"), False),
    ],
)
def test_opens_and_clicks_of_programs_are_known(provider: str, data: Any, machine: bool) -> None:
    [report] = SHAPES[provider](data)
    assert report.machine is machine


@pytest.mark.parametrize("provider", CASES)
def test_only_a_bounce_is_permanent(provider: str) -> None:
    for data, *_ in CASES[provider]:
        [report] = SHAPES[provider](data)
        assert not report.permanent or EVENT_TYPES[report.kind] == "message.bounced"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


def damaged(data: Any, path: list[int], value: Any) -> Any:
    """The data with one of its parts replaced; `path` says which, by numbers at each level."""
    if not path or not isinstance(data, dict | list) or not data:
        return value
    place, rest = path[0] % len(data), path[1:]
    if isinstance(data, list):
        return [damaged(one, rest, value) if n == place else one for n, one in enumerate(data)]
    chosen = list(data)[place]
    return {key: damaged(one, rest, value) if key == chosen else one for key, one in data.items()}


@given(
    st.sampled_from([(name, row[0]) for name, rows in CASES.items() for row in rows]),
    st.lists(st.integers(0, 20), max_size=5),
    JSON,
)
def test_a_damaged_report_is_read_or_refused_as_unreadable(
    case: tuple[str, Any], path: list[int], value: Any
) -> None:
    """It never fails in another way, and what is read has the types that it should have."""
    provider, data = case
    try:
        found = SHAPES[provider](damaged(data, path, value))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return
    msgspec.convert(msgspec.to_builtins(found), list[Report])
    event_ids(found, "gateway")
