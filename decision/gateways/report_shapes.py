"""The forms in which providers report, read into types of events and reasons of django-anymail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from decision.gateways import amazon, sendgrid
from decision.gateways.report import (
    CUSTOMER,
    EVENT_TYPES,
    Kind,
    Report,
    content,
    is_machine,
    json_object,
    names,
    seconds,
    variable,
)


def _mailgun(data: Any) -> list[Report]:
    event = data["event-data"]
    kind = _MAILGUN.get(event["event"], "unknown")
    if event["event"] == "failed" and event.get("severity") == "temporary":
        kind = "deferred"
    reason = event.get("reason")
    reject = None if reason is None else _MAILGUN_REASONS.get(reason, "other")
    client = event.get("client-info") or {}
    headers = (event.get("message") or {}).get("headers") or {}
    return [
        Report(
            kind=kind,
            # Its own id is unique within a day alone.
            id=str(data["signature"]["token"]),
            at=seconds(event.get("timestamp")),
            delivery=variable(event.get("user-variables")),
            customer=variable(event.get("user-variables"), CUSTOMER),
            message_id=variable(headers, "message-id"),
            provider_ids=names(headers.get("message-id")),
            reject_reason=reject or ("other" if kind == "rejected" else None),
            permanent=kind == "bounced" and reject == "bounced",
            machine=bool(client.get("bot")) or is_machine(kind, client.get("user-agent")),
            link=variable(event, "url"),
        )
    ]


_MAILGUN: Final[dict[str, Kind]] = {
    "accepted": "queued",
    "rejected": "rejected",
    "delivered": "delivered",
    "failed": "bounced",
    "opened": "opened",
    "clicked": "clicked",
    "unsubscribed": "unsubscribed",
    "complained": "complained",
}
_MAILGUN_REASONS: Final = {"bounce": "bounced", "suppress-bounce": "bounced", "generic": "other"}


def _postmark(data: Any) -> list[Report]:
    kind = _POSTMARK.get(data.get("RecordType"), "unknown")
    reject: str | None = None
    type = data.get("Type") if kind in ("bounced", "complained") else None
    if kind == "unsubscribed":
        type = data.get("SuppressionReason") if data.get("SuppressSending", True) else "Subscribe"
    if type in _POSTMARK_TYPES:
        kind, reject = _POSTMARK_TYPES[type]
    times = (data.get(key) for key in ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt"))
    return [
        Report(
            kind=kind,
            id=f"{data['RecordType']}.{data['ID']}" if "ID" in data else content(data),
            at=seconds(next((one for one in times if one), None)),
            delivery=variable(data.get("Metadata")),
            customer=variable(data.get("Metadata"), CUSTOMER),
            message_id=variable(data, "MessageID"),
            provider_ids=names(data.get("MessageID")),
            reject_reason=reject,
            permanent=type in ("HardBounce",),
            machine=is_machine(kind, data.get("UserAgent")),
            link=variable(data, "OriginalLink"),
        )
    ]


_POSTMARK: Final[dict[str, Kind]] = {
    "Bounce": "bounced",
    "Click": "clicked",
    "Delivery": "delivered",
    "Open": "opened",
    "SpamComplaint": "complained",
    "SubscriptionChange": "unsubscribed",
}
_POSTMARK_TYPES: Final[dict[str, tuple[Kind, str | None]]] = {
    "HardBounce": ("bounced", "bounced"),
    "Transient": ("deferred", None),
    "Unsubscribe": ("unsubscribed", "unsubscribed"),
    "Subscribe": ("subscribed", None),
    "AutoResponder": ("autoresponded", None),
    "AddressChange": ("autoresponded", None),
    "DnsError": ("deferred", None),
    "SpamNotification": ("complained", "spam"),
    "OpenRelayTest": ("deferred", None),
    "Unknown": ("unknown", None),
    "SoftBounce": ("bounced", "bounced"),
    "VirusNotification": ("bounced", "other"),
    "ChallengeVerification": ("autoresponded", None),
    "BadEmailAddress": ("rejected", "invalid"),
    "SpamComplaint": ("complained", "spam"),
    "ManuallyDeactivated": ("rejected", "blocked"),
    "Unconfirmed": ("rejected", None),
    "Blocked": ("rejected", "blocked"),
    "SMTPApiError": ("failed", None),
    "InboundError": ("unknown", None),  # about a mail to you
    "DMARCPolicy": ("rejected", "blocked"),
    "TemplateRenderingFailed": ("failed", None),
    "ManualSuppression": ("unsubscribed", "unsubscribed"),
}


def _brevo(data: Any) -> list[Report]:
    kind, reject = _BREVO.get(data.get("event"), ("unknown", None))
    custom: Any = data.get("X-Mailin-custom")
    epoch = data.get("ts_epoch")
    return [
        Report(
            kind=kind,
            id=content(data),
            at=epoch / 1000 if isinstance(epoch, int | float) else None,
            delivery=variable(json_object(custom)),
            customer=variable(json_object(custom), CUSTOMER),
            message_id=variable(data, "message-id"),
            provider_ids=names(data.get("message-id")),
            reject_reason=reject,
            permanent=data.get("event") in ("hard_bounce", "invalid_email"),
            machine=data.get("event") in ("unique_proxy_open", "proxy_open"),
            link=variable(data, "link"),
        )
    ]


_BREVO: Final[dict[str, tuple[Kind, str | None]]] = {
    "request": ("queued", None),
    "delivered": ("delivered", None),
    "hard_bounce": ("bounced", "bounced"),
    "soft_bounce": ("bounced", "bounced"),
    "blocked": ("rejected", "blocked"),
    "spam": ("complained", "spam"),
    "complaint": ("complained", "spam"),
    "invalid_email": ("bounced", "invalid"),
    "deferred": ("deferred", None),
    "unique_opened": ("opened", None),
    "opened": ("opened", None),
    "unique_proxy_open": ("opened", None),
    "proxy_open": ("opened", None),
    "click": ("clicked", None),
    "unsubscribe": ("unsubscribed", None),
    "error": ("failed", None),
    "list_addition": ("subscribed", None),
}


def _sparkpost(data: Any) -> list[Report]:
    found = []
    for row in data:
        for event in row["msys"].values():
            kind = _SPARKPOST.get(event["type"], "unknown")
            bounce = str(event["bounce_class"]) if "bounce_class" in event else None
            reject = None if bounce is None else _SPARKPOST_CLASSES.get(bounce, "other")
            kind = _SPARKPOST_KINDS.get(bounce or "", kind)
            found.append(
                Report(
                    kind=kind,
                    id=str(event.get("event_id") or content(event)),
                    at=seconds(event.get("timestamp")),
                    delivery=variable(event.get("rcpt_meta")),
                    customer=variable(event.get("rcpt_meta"), CUSTOMER),
                    provider_ids=names(event.get("transmission_id"), event.get("message_id")),
                    reject_reason=reject,
                    permanent=kind == "bounced" and bounce in ("10", "30"),
                    machine=event.get("is_prefetched") is True
                    or (event.get("user_agent_parsed") or {}).get("is_prefetched") is True
                    or is_machine(kind, event.get("user_agent")),
                    link=variable(event, "target_link_url"),
                )
            )
    return found


_SPARKPOST: Final[dict[str, Kind]] = {
    "bounce": "bounced",
    "delivery": "delivered",
    "injection": "queued",
    "spam_complaint": "complained",
    "out_of_band": "bounced",
    "policy_rejection": "rejected",
    "delay": "deferred",
    "click": "clicked",
    "open": "opened",
    "amp_click": "clicked",
    "amp_open": "opened",
    "generation_failure": "failed",
    "generation_rejection": "rejected",
    "list_unsubscribe": "unsubscribed",
    "link_unsubscribe": "unsubscribed",
}
_SPARKPOST_CLASSES: Final = {
    **dict.fromkeys(("20", "21", "22", "23", "30", "40", "70"), "bounced"),
    **dict.fromkeys(("25", "50", "54"), "blocked"),
    **dict.fromkeys(("51", "52"), "spam"),
    "10": "invalid",
    "24": "timed_out",
    "90": "unsubscribed",
}
_SPARKPOST_KINDS: Final[dict[str, Kind]] = {
    "60": "autoresponded",
    "80": "subscribed",
    "90": "unsubscribed",
    "100": "autoresponded",
}


def _twilio(data: Any) -> list[Report]:
    status = data.get("MessageStatus") or data.get("SmsStatus") or ""
    kind, reject = _TWILIO.get(status, ("unknown", None))
    code = data.get("ErrorCode")
    if reject is not None:
        reject = _TWILIO_REASONS.get(code, reject)
    if reject == "invalid":
        kind = "bounced"
    return [
        Report(
            kind=kind,
            id=f"{data['MessageSid']}.{status}",
            delivery=data.get("delivery"),
            customer=data.get("customer"),
            provider_ids=names(data["MessageSid"]),
            reject_reason=reject,
            # The number is none, or no mobile phone; other errors may pass.
            permanent=reject == "invalid",
        )
    ]


_TWILIO: Final[dict[str, tuple[Kind, str | None]]] = {
    "accepted": ("queued", None),
    "scheduled": ("queued", None),
    "queued": ("queued", None),
    "sending": ("queued", None),
    "sent": ("sent", None),
    "delivered": ("delivered", None),
    "read": ("opened", None),
    "undelivered": ("bounced", "bounced"),
    "failed": ("failed", "other"),
    "canceled": ("failed", "other"),
}
_TWILIO_REASONS: Final = {
    **dict.fromkeys(("21211", "21614", "30005", "30006"), "invalid"),
    **dict.fromkeys(("30004", "30007"), "blocked"),
    "21610": "unsubscribed",
    "30001": "timed_out",
}
"""Error code → reason: no such number, a landline; blocked; answered with STOP; too old."""


def _webhook(data: Any) -> list[Report]:
    event = data["event"]
    kind = str(event["type"]).removeprefix("message.")
    said = event["data"]
    reason = said.get("reject_reason")
    return [
        Report(
            kind=kind if kind in EVENT_TYPES else "unknown",  # type: ignore[arg-type]
            id=data["id"],
            at=seconds(event.get("timestamp")),
            delivery=f"{said['decision_id']}.{said['message']}",
            customer=variable(said, "customer_id"),
            reject_reason=reason if isinstance(reason, str) else None,
            permanent=said.get("permanent") is True,
            machine=said.get("machine") is True,
        )
    ]


SHAPES: Final[dict[str, Callable[[Any], list[Report]]]] = {
    "mailgun": _mailgun,
    "postmark": _postmark,
    "brevo": _brevo,
    "sendgrid": sendgrid.reports,
    "ses": amazon.reports,
    "sparkpost": _sparkpost,
    "twilio": _twilio,
    "webhook": _webhook,
}
"""Provider → the reports in what it has sent; others than strings are errors of these types:
LookupError, TypeError, ValueError, AttributeError."""
