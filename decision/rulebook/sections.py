"""Settings, purposes, channels, placements, suppressions and experiments."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Literal, cast, get_args, get_origin, get_type_hints

import msgspec

from decision.core import calendar
from decision.core.calendar import WEEKDAY_NAMES
from decision.core.definition import (
    TIERS,
    USUAL_TIER,
    Channel,
    Experiment,
    Placement,
    Purpose,
    ReplyWindow,
    Reservation,
    Settings,
    Suppression,
)
from decision.core.values import in_words
from decision.rulebook.checker import LONGEST_PAUSE, Checker
from decision.rulebook.local_filters import is_language
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.quiet_hours import read_quiet_hours
from decision.rulebook.readings import CURRENCIES, as_yaml, number, truth
from decision.rulebook.yaml_source import Node


@cache
def choices(struct: type[msgspec.Struct], field: str) -> list[str]:
    """The choices of a field that is a `Literal`, or a `Literal` or None."""
    found = get_type_hints(struct)[field]
    if get_origin(found) is not Literal:
        found = next(one for one in get_args(found) if get_origin(one) is Literal)
    return list(get_args(found))


_PER = choices(Suppression, "per")
_DELIVERY = choices(Placement, "delivery")
_DEFAULTS = Settings()


def read_settings(checker: Checker, node: Node) -> Settings:
    """`settings:`; sets the checker's time zone."""
    with checker.entry(node, "settings") as entry:

        def read(key: str, how: Callable[..., Any], *args: Any, **bounds: float) -> Any:
            return entry.read(key, how, getattr(_DEFAULTS, key), *args, **bounds)

        timezone = read("timezone", _timezone)
        checker.zone = calendar.zone(timezone)
        exploration = entry.get("exploration")
        off = exploration is not None and exploration.value == "off"
        return Settings(
            timezone=timezone,
            currency=read("currency", _currency),
            week_starts=read("week_starts", Checker.choice, WEEKDAY_NAMES),
            language=read("language", _language),
            exploration=None if off else read("exploration", _exploration),
            exploration_floor=read("exploration_floor", Checker.share),
            exploration_until=read("exploration_until", Checker.number, above=0),
            starting_probability=read("starting_probability", Checker.share),
            starting_evidence=read("starting_evidence", Checker.number, above=0),
            request_id_lasts=read("request_id_lasts", Checker.duration),
        )


def _timezone(checker: Checker, node: Node, what: str) -> str | None:
    name = checker.text(node, what)
    if name is not None and calendar.known_zone(name) is None:
        message = f'{what}: there is no time zone "{name}"'
        meant = _ZONES.get(name.lower().replace(" ", ""))
        hint = f"write {meant}" if meant else calendar.zone_hint(name)
        checker.error("unknown-name", node.at, message, hint)
        return None
    return name


_LANGUAGES: Final = {
    **dict.fromkeys(("chinese", "中文", "cn", "mandarin"), "zh"),
    "english": "en",
    "german": "de",
    "deutsch": "de",
    "french": "fr",
    "français": "fr",
    "japanese": "ja",
}


def _language(checker: Checker, node: Node, what: str) -> str | None:
    code = checker.text(node, what)
    if code is not None and not is_language(code):
        message = f'{what} is "{code}", which is no language'
        hint = "write, for example, en, zh or en-GB"
        if found := _LANGUAGES.get(code.lower()):
            hint = f"write {found}"
        checker.error("bad-value", node.at, message, hint)
        return None
    return code


_ZONES: Final = {
    **dict.fromkeys(
        ("cst", "china", "beijing", "asia/beijing", "北京", "上海", "gmt+8", "utc+8", "gmt+08:00"),
        "Asia/Shanghai",
    ),
    **dict.fromkeys(("uk", "bst", "england"), "Europe/London"),
    **dict.fromkeys(("germany", "cest", "gmt+1", "utc+1"), "Europe/Berlin"),
    "france": "Europe/Paris",
}
_CONSENT: Final = {
    **dict.fromkeys(("yes", "required", "needed", "true", "optin"), "opt_in"),
    **dict.fromkeys(("no", "none", "not needed", "false", "never", "not-required"), "not_required"),
    "optout": "opt_out",
    **dict.fromkeys(("需要", "同意", "需同意"), "opt_in"),
    **dict.fromkeys(("不需要", "无需", "不用"), "not_required"),
}
"""What people write → the kind of consent. The nearest word can be the opposite: `required`."""


def _currency(checker: Checker, node: Node, what: str) -> str | None:
    code = checker.text(node, what)
    if code is not None and not re.fullmatch("[A-Z]{3}", code):
        message = f'{what} is "{code}"; it must be three capital letters'
        meant = CURRENCIES.get(code.lower(), code.upper())
        known = re.fullmatch("[A-Z]{3}", meant)
        hint = f"write {meant}" if known else "write, for example, CNY, EUR or USD"
        checker.error("bad-value", node.at, message, hint)
        return None
    if code is not None and code.lower() in CURRENCIES:
        message = f'{what} is "{code}", which is not a code of ISO 4217'
        checker.warn(node.at, message, f"write {CURRENCIES[code.lower()]}", "doubtful-value")
    return code


def _exploration(checker: Checker, node: Node, what: str) -> float | None:
    if isinstance(node.value, str):
        message = f'{what} cannot be "{node.value}"'
        checker.error("bad-value", node.at, message, "write a number, 0 or more, or off")
        return None
    return checker.number(node, what, least=0)


def read_purpose(checker: Checker, name: str, node: Node) -> Purpose:
    """One of `purposes:`."""
    with checker.entry(node, f'purpose "{name}"') as entry:
        options = choices(Purpose, "consent")
        consent = entry.require("consent", _consent, "opt_in", options)
        return Purpose(
            name=name,
            source=node.key.label,
            consent=cast(Any, consent),
            explore=entry.read("explore", _truth, True),
            tier=entry.read("tier", _tier, USUAL_TIER),
        )


_TIER_WORDS: Final = {
    **dict.fromkeys(("first", "high", "highest", "top", "最高", "高", "优先"), "1"),
    **dict.fromkeys(("last", "low", "lowest", "最低", "低"), "9"),
    **dict.fromkeys(("normal", "usual", "medium", "普通"), f"{USUAL_TIER}"),
}


def _tier(checker: Checker, node: Node, what: str) -> int | None:
    first, last = TIERS
    if isinstance(node.value, str | bool):
        hint = f"write a number from {first} to {last}; the lowest goes first"
        if meant := number(str(node.value)) or _TIER_WORDS.get(str(node.value).lower(), ""):
            hint = f"write {meant}; a tier is from {first} to {last}, the lowest goes first"
        checker.wrong_type(node, what, "a number", hint)
        return None
    return checker.whole(node, what, first, last)


def _consent(checker: Checker, node: Node, what: str, options: list[str]) -> str | None:
    word = str(node.plain()).strip().lower()
    if word in options or word not in _CONSENT:
        return checker.choice(node, what, options)
    message = f'{what} cannot be "{word}"'
    checker.error("bad-value", node.at, message, f"write {_CONSENT[word]}")
    return None


def _truth(checker: Checker, node: Node, what: str) -> bool | None:
    if isinstance(node.value, bool):
        return node.value
    meant = truth(node.value)
    hint = "" if meant is None else f"write {as_yaml(meant)}"
    checker.wrong_type(node, what, "true or false", hint)
    return None


def read_channel(checker: Checker, name: str, node: Node) -> Channel:
    """One of `channels:`."""
    with checker.entry(node, f'channel "{name}"') as entry:
        return Channel(
            name=name,
            source=node.key.label,
            cost=entry.read("cost", Checker.number, 0.0, least=0),
            quiet_hours=entry.read("quiet_hours", read_quiet_hours, ()),
            reservation=entry.read("reservation", _reservation, Reservation()),
            reply_windows=entry.read("reply_window", _reply_windows, ()),
            max_length=entry.read("max_length", _max_length, {}),
        )


def _reservation(checker: Checker, node: Node, what: str) -> Reservation:
    default = Reservation()
    with checker.entry(node, what) as entry:
        then = entry.read("then", Checker.choice, default.then, choices(Reservation, "then"))
        return Reservation(
            expires_after=entry.read("expires_after", Checker.duration, default.expires_after),
            then=cast(Any, then),
        )


def _reply_windows(checker: Checker, node: Node, what: str) -> tuple[ReplyWindow, ...]:
    if not isinstance(node.value, list):
        return (_reply_window(checker, node, what),)
    if not node.value:
        checker.error("bad-value", node.at, f"{what} is an empty list", "delete the key")
    return tuple(_reply_window(checker, item, what) for item in node.value)


def _reply_window(checker: Checker, node: Node, what: str) -> ReplyWindow:
    with checker.entry(node, what) as entry:
        return ReplyWindow(
            opened_by=entry.require("opened_by", Checker.event, ""),
            lasts=entry.require("lasts", Checker.duration, 0),
            allows=entry.read("allows", Checker.whole, None),
            source=node.at.label,
        )


def _max_length(checker: Checker, node: Node, what: str) -> dict[str, int]:
    if not isinstance(node.value, dict):
        hint = f"write {{body: {node.value}}}" if type(node.value) is int else ""
        checker.wrong_type(
            node, what, "a mapping of content fields and numbers of characters", hint
        )
        return {}
    found = {field: checker.whole(item, f"{field} in {what}") for field, item in node.value.items()}
    return {field: limit for field, limit in found.items() if limit is not None}


def read_placement(checker: Checker, name: str, node: Node) -> Placement:
    """One of `placements:`. `messages.check_messages` checks its fallback."""
    with checker.entry(node, f'placement "{name}"') as entry:
        return Placement(
            name=name,
            source=node.key.label,
            channels=entry.require("channels", Checker.references, (), "channels"),
            fallback=entry.read("fallback", Checker.text, None),
            threshold=entry.read("threshold", Checker.number, 0.0),
            delivery=cast(Any, entry.read("delivery", Checker.choice, "caller", _DELIVERY)),
        )


def read_suppression(checker: Checker, name: str, node: Node) -> Suppression:
    """One of `suppressions:`."""
    with checker.entry(node, f'suppression "{name}"') as entry:
        return Suppression(
            name=name,
            source=node.key.label,
            event=entry.require("event", Checker.event, ""),
            times=entry.require("times", Checker.whole, 1),
            within=entry.require("within", Checker.duration, 0),
            pause=entry.require("pause", Checker.duration, 0, LONGEST_PAUSE),
            per=cast(Any, entry.read("per", Checker.choice, None, _PER)),
        )


def read_experiment(checker: Checker, name: str, node: Node) -> Experiment:
    """One of `experiments:`: a control group with a share, or a test with variants."""
    with checker.entry(node, f'experiment "{name}"') as entry:
        found = Experiment(
            name=name,
            source=node.key.label,
            seed=entry.require("seed", Checker.text, ""),
            share=entry.read("share", Checker.share, None),
            keeps=entry.read("keeps", Checker.references, (), "purposes", least=0),
            variants=entry.read("variants", read_variants, {}),
        )
        _share_or_variants(checker, entry)
    variants = entry.get("variants")
    if variants is not None:
        # A variant with a wrong share still exists: conditions may name it.
        names = variants.value if isinstance(variants.value, dict) else {}
        checker.variants[name] = {**dict.fromkeys(names, 0.0), **found.variants}
    return found


def _share_or_variants(checker: Checker, entry: MappingReader) -> None:
    share, variants, keeps = entry.get("share"), entry.get("variants"), entry.get("keeps")
    hint = "keep share for a control group, or variants for a test"
    if share is not None and variants is not None:
        message = f"{entry.what} has both share and variants"
        checker.error("conflict", variants.key, message, hint)
    elif variants is not None and keeps is not None:
        message = f"{entry.what} has keeps but no share"
        hint = "delete keeps, which is only for a control group"
        checker.error("conflict", keeps.key, message, hint)
    elif share is None and variants is None and isinstance(entry.node.value, dict):
        message = f"{entry.what} has neither share nor variants"
        hint = "add share for a control group, or variants for a test"
        entry.lacks(message, hint, "share", "variants")


def read_variants(checker: Checker, node: Node, what: str) -> dict[str, float]:
    """Variant → its share. Numbers without % may be shares (sum 1) or percent (sum 100)."""
    if not isinstance(node.value, dict) or not node.value:
        plain = node.plain()
        names = [one for one in plain if isinstance(one, str)] if isinstance(plain, list) else []
        hint = "write {control: 50%, short: 50%}"
        if isinstance(node.value, list) and names and 10_000 % len(names) == 0:
            hint = f"write {{{as_yaml(dict.fromkeys(names, f'{100 / len(names):g}%'))}}}"
        wanted = "a mapping of names and shares, such as {a: 50%, b: 50%}"
        checker.wrong_type(node, what, wanted, hint)
        return {}
    for name, item in node.value.items():
        checker.usable_name(name, item.key, "variant")
    values = [item.value for item in node.value.values()]
    bare = all(type(value) in (int, float) and value >= 0 for value in values)
    if bare and abs(sum(values) - 100) <= 1e-9:
        return {name: item.value / 100 for name, item in node.value.items()}
    shares: dict[str, float] = {}
    for name, item in node.value.items():
        share = checker.share(item, f"{name} of {what}")
        if share is not None:
            shares[name] = share
    total = sum(shares.values())
    if len(shares) == len(values) and abs(total - 1) > 1e-11:
        message = f"{what} add up to {in_words(total * 100)}%; they must add up to 100%"
        checker.error("bad-value", node.at, message, "change one of the shares")
    return shares
