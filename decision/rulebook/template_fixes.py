"""What to write instead of a template that cannot be used: what other languages of templates mean.

Each fix is a substitution. Together they make a text, which is offered only if it is a template.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from decision.rulebook.readings import CURRENCIES
from decision.rulebook.template_names import GIVEN, NAMESPACES
from decision.rulebook.template_syntax import LONGEST_TEXT, TemplateError
from decision.rulebook.templates import compile_template

_Fix = tuple[str, str | Callable[[re.Match[str]], str]]

_FAMILY: Final = rf"({'|'.join(NAMESPACES)})"
_SIGNS: Final = str.maketrans(
    "｛｝（）［］｜，．：；！＝＜＞、‘’“”´`\u3000\xa0", "{}()[]|,.:;!=<>,''''''  "
)
"""Signs of Chinese keyboards and word processors, and the plain ones."""
_WORDS: Final = {
    **dict.fromkeys(("upcase", "uppercase", "toUpperCase"), "upper"),
    **dict.fromkeys(("downcase", "lowercase", "toLowerCase"), "lower"),
    **dict.fromkeys(("strip",), "trim"),
    **dict.fromkeys(("size", "count", "len"), "length"),
    **dict.fromkeys(("fallback", "ifempty", "if_empty"), "default"),
    **dict.fromkeys(("currency", "price"), "money"),
    **dict.fromkeys(("url_encode", "urlescape", "encodeURIComponent"), "urlencode"),
    **dict.fromkeys(("date_format", "format_date", "strftime"), "date"),
}
"""Filters of other systems, and ours."""

_OF_TIME: Final = {
    "%Y": "yyyy",
    "%y": "yy",
    "%m": "MM",
    "%B": "MMMM",
    "%b": "MMM",
    "%d": "dd",
    "%e": "d",
    "%H": "HH",
    "%I": "hh",
    "%M": "mm",
    "%S": "ss",
    "%p": "a",
    "%A": "EEEE",
    "%a": "EEE",
}
"""Codes of `strftime`, and those of CLDR."""


def _currency(name: str) -> str:
    return CURRENCIES.get(name.lower(), name.upper())


def _places(name: str, pattern: str) -> str:
    """The filter with the decimals of a pattern such as `#,##0.00`; alone for all other texts."""
    decimals = re.fullmatch(r"[#0,]*\.([0#]+)", pattern)
    return f"| {name}({len(decimals[1])})" if decimals else f"| {name}"


def _pattern(codes: str) -> str:
    return re.sub("%-?([A-Za-z])", lambda code: _OF_TIME.get(f"%{code[1]}", ""), codes)


_TAGS: Final[tuple[_Fix, ...]] = (
    (r"\{\{\{\s*([^{}]*?)\s*\}\}\}", r"{{ \1 }}"),
    (r"\{\{\s*\{\s*([^{}]*?)\s*\}\s*\}\}", r"{{ \1 }}"),
    (r"\{\{([^{}]*)\}(?!\})", r"{{\1}}"),
    (r"\{%([^%{}]*)\}", r"{%\1%}"),
    (r"\{\{([^{}%]*)$", r"{{\1 }}"),
    (r"\{%([^{}%]*)$", r"{%\1 %}"),
    (r"\{\{\s*#\s*if\s+([^{}]*?)\s*\}\}", r"{% if \1 %}"),
    (r"\{\{\s*#\s*unless\s+([^{}]*?)\s*\}\}", r"{% if not \1 %}"),
    (r"\{\{\s*#\s*each\s+([^{}]*?)\s*\}\}", r"{% for this in \1 %}"),
    (r"\{\{\s*/\s*(?:if|unless)\s*\}\}", "{% endif %}"),
    (r"\{\{\s*/\s*each\s*\}\}", "{% endfor %}"),
    (r"\{\{\s*((?:if|elif|else|endif|for|endfor)\b[^{}]*?)\s*\}\}", r"{% \1 %}"),
    (rf"\{{%-?\s*({_FAMILY}\.[^%]*?)\s*-?%\}}", r"{{ \1 }}"),
    (r"\{%\s*end\s+(for|if)\s*%\}", r"{% end\1 %}"),
    (r"\{%\s*(?:else\s+if|elseif|elsif)\b", "{% elif"),
    (r"\{%\s*unless\b", "{% if not"),
    (r"\{%\s*endunless\b", "{% endif"),
    (r"\{%\s*foreach\s+(\S+)\s+as\s+(\w+)\s*%\}", r"{% for \2 in \1 %}"),
    (r"\{%\s*endforeach\b", "{% endfor"),
    (r"\{%(-?\s*for\s+\w+\s+in\s+[^\s%]+)\s+limit\s*[:=]\s*(\d+)\s*(-?%\})", r"{%\1[:\2] \3"),
    (r"\{%\s*for\s+(\w+)\s+of\b", r"{% for \1 in"),
    (rf"\{{%\s*for\s+({_FAMILY}\.\S+)\s*%\}}", r"{% for item in \1 %}"),
    (
        r"\{%\s*for\s+(\w+)\s+in\s+(?:range\((?:\d+\s*,\s*)?(\d+)\)|\(?\d+\.\.(\d+)\)?)\s*%\}",
        lambda found: f"{{% for {found[1]} in event.items[:{found[2] or found[3]}] %}}",
    ),
)
_INSIDE: Final[tuple[_Fix, ...]] = (
    (r"^(\{\{\s*)[$@%#]+", r"\1"),
    (r"%\s*\}\}$", " }}"),
    (r",\s*\}\}$", " }}"),
    (r"\|\s*\}\}$", "}}"),
    (rf"\b{_FAMILY}\s*(?:->|:|/)\s*(?=[^\W\d])", r"\1."),
    (rf"\b{_FAMILY}\[\s*([^\W\d]\w*)\s*\]", r"\1['\2']"),
    (rf"\b({'|'.join(GIVEN)})\.([^\W\d]\w*) ([^\W\d]\w*)(?=\s*(?:\||\}}\}}|%\}}))", r"\1['\2 \3']"),
    (r"\s*(?:\|\||\?\?)\s*('[^']*'|\"[^\"]*\")(?=\s*\}\})", r" | default(\1)"),
    (r"\s*\|\|\s*", " or "),
    (r"\s*&&\s*", " and "),
    (r"!(?!=)\s*", "not "),
    (r"===?", "=="),
    (r"!==", "!="),
    (r"<>", "!="),
    (r"(?<=\s)eq(?=\s)", "=="),
    (r"(?<=\s)(?:ne|neq)(?=\s)", "!="),
    (r"(?<=\s)gt(?=\s)", ">"),
    (r"(?<=\s)gte(?=\s)", ">="),
    (r"(?<=\s)lt(?=\s)", "<"),
    (r"(?<=\s)lte(?=\s)", "<="),
    (r"(\{%-?\s*(?:el)?if\b[^%=]*[^%=!<>])=(?!=)", r"\1=="),
    (r"(\{\{\s*)(.+?)\s*\?\s*(.+?)\s*:\s*(.+?)(\s*\}\})$", r"\1\3 if \2 else \4\5"),
    (r"\|\s*(\w+)\s*:\s*([^|{}%]*[^|{}%\s])", r"| \1(\2)"),
    (r"\|\s*(\w+)\s+('[^']*'|\d+)", r"| \1(\2)"),
    (r"\.(\w+)\(\)", r" | \1"),
    (r"\|\s*(\w+)", lambda found: f"| {_WORDS.get(found[1], found[1])}"),
    (r"\s*\|\s*(?:safe|raw|escape|e|h)\b(?!\()", ""),
    (r"\|\s*(default|money|date|join)\(\s*([^\W\d]\w*)\s*\)", r"| \1('\2')"),
    (r"\|\s*(shorten|truncate|first|number|round|fixed)\(\s*['\"](\d+)['\"]", r"| \1(\2"),
    (r"(\|\s*[a-z]+(?:\([^()]*\))?) (?=[a-z]+\s*\}\})", r"\1 | "),
    (
        r"\|\s*(number|round|fixed)\(\s*['\"]([^'\"]*)['\"]\s*\)",
        lambda found: _places(*found.groups()),
    ),
    (r"\|\s*(number|round|fixed)\(\s*(\d+)\s*,[^()]*\)", r"| \1(\2)"),
    (r"\|\s*money\(\s*\d+\s*\)", "| money"),
    (r"\|\s*money\(('[A-Z]{3}')\s*,[^()]*\)", r"| money(\1)"),
    (rf"\b{_FAMILY}(?:\.\w+)+\[\s*([^\W\d]\w*)\s*\]", r"\2"),
    (r"\|\s*money\('([^']+)'\)", lambda found: f"| money('{_currency(found[1])}')"),
    (r"\|\s*date\('([^']*%[^']*)'\)", lambda found: f"| date('{_pattern(found[1])}')"),
)
_TAG: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_OPEN: Final = re.compile(r"\{%-?\s*(if|for|endif|endfor|end)\b")


def fix_of(text: str) -> str:
    """The first tag of a text as it is written here; empty where that is not known.

    >>> fix_of("Hi {{ customer.name || 'you' }}")
    "{{ customer.name | default('you') }}"
    """
    if len(text) > LONGEST_TEXT:
        return ""
    fixed = _TAG.sub(lambda tag: tag[0].translate(_SIGNS), text)
    for pattern, new in _TAGS:
        fixed = re.sub(pattern, new, fixed)
    fixed = _ended(_TAG.sub(lambda tag: _inside(tag[0]), fixed))
    if not _is_valid(fixed):
        return ""
    before = _TAG.findall(text)
    changed = [tag for tag in _TAG.findall(fixed) if tag not in before]
    return changed[0] if changed else ""


def _inside(tag: str) -> str:
    if not any(map(_is_valid, (tag, tag + "{% endif %}", tag + "{% endfor %}"))):
        for pattern, new in _INSIDE:
            tag = re.sub(pattern, new, tag)
    return tag


def _is_valid(text: str) -> bool:
    try:
        return compile_template(text) is not None
    except TemplateError:
        return False


def _ended(text: str) -> str:
    """The text with an end for each `if` and `for`."""
    opened: list[str] = []

    def end(found: re.Match[str]) -> str:
        word = found[1]
        if word in ("if", "for"):
            opened.append(word)
        elif opened:
            return found[0].removesuffix(word) + f"end{opened.pop()}"
        return found[0]

    text = _OPEN.sub(end, text)
    return text + "".join(f"{{% end{word} %}}" for word in reversed(opened))
