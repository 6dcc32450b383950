"""What an HTML text says, as text: e-mails are shown without being run."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final

_LINES: Final = {
    *("address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "footer", "header", "hr"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p", "pre", "section", "table", "tr", "ul"),
}
_UNSEEN: Final = frozenset(("script", "style", "head", "title", "template"))


def text_of_html(html: str) -> str:
    r"""The text that a reader sees, a line for each block; pictures by their text.

    >>> text_of_html("<h1>Hi &amp; hello</h1><style>p {}</style><p>to <b>you</b></p>")
    'Hi & hello\nto you'
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.found).split("\n"))
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _LINES:
            self.found.append("\n")
        elif tag == "img" and (alt := dict(attrs).get("alt")):
            self.found.append(f" [{alt}] ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _LINES:
            self.found.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.found.append(" ".join(("", *data.split(), "")) if data[:1].isspace() else data)
