"""One delivery as an e-mail: multipart, in UTF-8, and nobody's values make a header."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html.parser import HTMLParser
from typing import Any, Final

from decision.core.clock import from_micros

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ADDRESS: Final = re.compile(r"([\w!#$%&'*+/=?^`{|}~.-]{1,64})@([\w.-]{1,253})")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_NAMED: Final = re.compile(r"([^<>\x00-\x1f\x7f]*)<([^<>]*)>\s*")
_LONGEST_ADDRESS: Final = 254
_LINE: Final = 900
"""Characters of a link in one line of a header."""

_BLOCKS: Final = re.compile(
    "address|article|blockquote|br|d[dlt]|div|footer|h[1-6r]|header|li|[ou]l|p|pre|section|t(able|r)"
)
_UNSEEN: Final = frozenset(("head", "script", "style", "title", "template"))


def address_of(text: str) -> Address:
    """One address; a domain in any script becomes ASCII.

    >>> str(address_of("ann@bücher.example"))
    'ann@xn--bcher-kva.example'

    Raises:
        ValueError: it is not exactly one address.
    """
    found = _ADDRESS.fullmatch(text.strip(" "))
    try:
        if found is None:
            raise ValueError
        local, domain = found[1], found[2].encode("idna").decode()
        if not _DOMAIN.fullmatch(domain) or len(local) + len(domain) >= _LONGEST_ADDRESS:
            raise ValueError
        return Address(username=local, domain=domain)
    except ValueError:
        raise ValueError("it is not one address such as ann@example.com") from None


def sender_of(text: str) -> Address:
    """An address, perhaps in <> after a name.

    >>> str(sender_of("Lantern Market <hi@example.com>"))
    'Lantern Market <hi@example.com>'

    Raises:
        ValueError: it is not exactly one address.
    """
    found = _NAMED.fullmatch(text)
    if found is None:
        return address_of(text)
    address = address_of(found[2])
    name = found[1].strip(' "')
    return Address(display_name=name, username=address.username, domain=address.domain)


def compose(
    content: Mapping[str, Any],
    *,
    sender: Address,
    to: Address,
    at: int,
    key: str,
    reply_to: Address | None = None,
    headers: Mapping[str, str] | None = None,
) -> EmailMessage:
    """The mail that a content says: `subject` (or `title`), `html`, `text` (or `body`).

    Without a text, one is made of the HTML. `at` is in microseconds. `key` names the delivery: the
    Message-ID is made of it, so that a second attempt is the same mail.

    Raises:
        ValueError: there is nothing to say.
    """
    html, text = _text(content, "html"), _text(content, "text") or _text(content, "body")
    subject = _text(content, "subject") or _text(content, "title")
    if not html.strip() and not text.strip():
        raise ValueError("the content has neither html nor text nor body")
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"] = sender
    mail["To"] = to
    if reply_to is not None:
        mail["Reply-To"] = reply_to
    mail["Subject"] = _CONTROL.sub(" ", subject).strip()
    mail["Date"] = format_datetime(from_micros(at))
    mail["Message-ID"] = f"<{message_id(key, sender)}>"
    for name, value in (headers or {}).items():
        mail[name] = _CONTROL.sub(" ", value)
    if not text.strip():
        text = text_of(html)
    mail.set_content(text, cte="quoted-printable")
    if html.strip():
        mail.add_alternative(html, subtype="html", cte="quoted-printable")
    return mail


def flat(
    mail: EmailMessage,
    *,
    utf8: bool,
    link: str | None = None,
    rows: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The bytes of a mail. Its link to opt out is in the headers of RFC 2369 and RFC 8058.

    These and `rows`, further headers in ASCII, are written here: the email package folds what is
    long, and would encode it.
    """
    own = dict(rows)
    if link is not None:
        # A line has at most 998 characters; RFC 2369 lets blanks inside the brackets be ignored.
        parts = [link[at : at + _LINE] for at in range(0, len(link), _LINE)]
        own["List-Unsubscribe"] = "<" + "\r\n ".join(parts) + ">"
        own["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    above = "".join(f"{name}: {value}\r\n" for name, value in own.items()).encode("ascii")
    return above + mail.as_bytes(policy=policy.SMTPUTF8 if utf8 else policy.SMTP)


def message_id(key: str, sender: Address) -> str:
    """The Message-ID of a delivery, without brackets.

    >>> message_id("01J.hello", address_of("hi@example.com"))
    '01J.59bbd7f5717d1afe@example.com'
    """
    return f"{message_id_begins(key)}{sender.domain}"


def message_id_begins(key: str) -> str:
    """What a Message-ID is up to the domain."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{key.partition('.')[0]}.{digest}@"


def _text(content: Mapping[str, Any], field: str) -> str:
    found = content.get(field)
    return found if isinstance(found, str) else ""


class _Reader(HTMLParser):
    """Collects what a reader of the HTML sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0
        self._link: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif _BLOCKS.fullmatch(tag):
            self.parts.append("\n\n" if tag == "p" else "\n")
        if tag == "li":
            self.parts.append("- ")
        elif tag == "a":
            self._link = dict(attrs).get("href")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif _BLOCKS.fullmatch(tag):
            self.parts.append("\n\n" if tag == "p" else "\n")
        elif tag == "a" and self._link:
            self.parts.append(f" ({self._link})")
            self._link = None

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", data))


def text_of(html: str) -> str:
    """What HTML says, as text; links stand after their words.

    >>> text_of("<style>p {}</style><p>Hello <b>Ann</b>,<br>see <a href='https://x.example'>tea</a>")
    'Hello Ann,\\nsee tea (https://x.example)\\n'
    """
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
    except AssertionError:  # how the parser gives up on a declaration such as <![x
        reader.parts = [re.sub(r"<[^>]*>?", " ", html)]
    lines = [line.strip() for line in "".join(reader.parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
