"""The console's texts: those that are used, and those that are translated.

`python -m tests.console.catalogue` prints what is missing as entries to copy, and what nobody uses.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

from babel.messages.extract import extract, extract_python
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

from decision.analytics.reports import KINDS
from decision.console.language import FOLDER, LANGUAGES

CONSOLE = FOLDER.parent
KEYWORDS: dict[str, Any] = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_MAKERS = {"Said": 1, "Joined": 1, "marked": 1, "Counted": 2}
_MUTE = re.compile(r"(%\(\w+\)s|[\s:()%=/|])*")
"""Templates that are the same in every language."""

Text = tuple[str, ...]
"""A text, or its form for one and for many."""


def used() -> dict[Text, list[str]]:
    """Each text of templates and Python, with the files that have it."""
    found: defaultdict[Text, list[str]] = defaultdict(list)
    for path in sorted([*CONSOLE.rglob("*.py"), *(CONSOLE / "templates").rglob("*.html")]):
        method: Any = extract_python
        if path.suffix == ".html":
            method = partial(babel_extract)
        with path.open("rb") as file:
            options = {"silent": "false", "trim_blocks": "true", "lstrip_blocks": "true"}
            for text in _texts(method, file, options):
                found[text].append(str(path.relative_to(CONSOLE)))
    for path in sorted(CONSOLE.parent.rglob("*.py")):
        source = path.read_text()
        if "decision.core.said import" in source or path.name == "said.py":
            for text in _said(ast.parse(source)):
                found[text].append(str(path.relative_to(CONSOLE.parent)))
    for name, kind in KINDS.items():
        told = [kind.title, kind.summary, *kind.meaning]
        told += [text for option in kind.options for text in (option.label, option.help)]
        for text in told:
            found[(text,)].append(f"the report {name}")
    return dict(found)


def _said(tree: ast.AST) -> Iterator[Text]:
    """The texts of the engine that have a letter: what makes a `Said` of a literal, or marks one."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            number = _MAKERS.get(call.func.id, 0)
            parts = [one.value for one in call.args[:number] if isinstance(one, ast.Constant)]
            if len(parts) == number > 0 and not _MUTE.fullmatch(parts[0]):
                yield tuple(parts)


def _texts(method: Any, file: BinaryIO, options: dict[str, str]) -> Iterator[Text]:
    for _, message, _, _ in extract(method, file, KEYWORDS, options=options):
        yield tuple(message) if isinstance(message, tuple | list) else (message,)


def translated(code: str) -> list[tuple[str, Text, Text]]:
    """File, text and translation of each entry of a language."""
    found = []
    for path in sorted((FOLDER / code).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale="zh_Hans_CN" if code == "zh" else code):
                if message.id:
                    text = message.id if isinstance(message.id, tuple | list) else (message.id,)
                    string = message.string
                    forms = tuple(string) if isinstance(string, tuple | list) else (string,)
                    found.append((path.name, tuple(text), tuple(form or "" for form in forms)))
    return found


def placeholders(text: str) -> set[str]:
    """The names of the values that a text takes."""
    return set(_PLACEHOLDER.findall(text))


def main() -> int:
    """Prints what is missing and what is obsolete; 1 where there is any."""
    texts, wrong = used(), 0
    for code in sorted(set(LANGUAGES) - {"en"}):
        entries = {text: name for name, text, _ in translated(code)}
        for text, places in texts.items():
            if text not in entries:
                wrong = 1
                print(f"\n#. missing in {code}, used in {', '.join(places)}")
                for keyword, part in zip(("msgid", "msgid_plural"), text, strict=False):
                    print(keyword, '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"')
                print('msgstr ""' if len(text) == 1 else 'msgstr[0] ""')
        for text, name in entries.items():
            if text not in texts:
                wrong = 1
                print(f"\n#. nobody uses this any more: {code}/{name}: {text[0]}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
