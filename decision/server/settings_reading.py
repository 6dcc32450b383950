"""Settings from `NEXTBEST_*` variables and flags, and back into variables for another process."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches

import msgspec

from decision.server.settings import PREFIX, SETTINGS, ServerSettings, Setting, SettingsError

_FOR_COMMANDS = (
    *("NEXTBEST_API_KEY", "NEXTBEST_TRACEBACK"),
    *(f"NEXTBEST_KAFKA_{name}" for name in ("BROKERS", "TOPICS", "GROUP", "SECURITY", "SASL")),
    *(f"NEXTBEST_KAFKA_{name}" for name in ("CA_FILE", "USER", "PASSWORD")),
)
_BY_OTHERS = re.compile(
    r"NEXTBEST_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+|TEST_\w+|DATA|CAMPAIGN)"
)
"""What Kubernetes sets, and what tests and benchmarks read."""
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def read_settings(environ: Mapping[str, str] | None = None, **given: object) -> ServerSettings:
    """Settings from `NEXTBEST_*` variables; what is `given` and not None goes before them.

    A variable that is set to nothing counts as left out.

    Raises:
        SettingsError: a value cannot be one of that setting.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    for setting in SETTINGS:
        value: object = environ.get(setting.name) or None
        if given.get(setting.field) is not None:
            value = given[setting.field]
        if value is None:
            continue
        if setting.type is bool and isinstance(value, str):
            value = _flag(setting, value)
        try:
            checked = msgspec.convert({setting.field: value}, ServerSettings, strict=False)
        except msgspec.ValidationError as error:
            reason = str(error).split(" - at ")[0].replace("`", "")
            if reason.startswith("Expected int"):
                reason = _whole_number(reason)
            if setting.choices:
                reason = "it is one of " + ", ".join(setting.choices)
            raise SettingsError(f"{setting.name} is {value!r}: {reason}") from None
        values[setting.field] = getattr(checked, setting.field)
    return ServerSettings(**values)  # type: ignore[arg-type]


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """What to say of each `NEXTBEST_*` variable that nobody reads, with the nearest that is read.

    They are told and not refused: Kubernetes sets some for a service of the name nextbest.
    """
    environ = os.environ if environ is None else environ
    known = [*(setting.name for setting in SETTINGS), *_FOR_COMMANDS]
    found = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or _BY_OTHERS.fullmatch(name):
            continue
        near = get_close_matches(name[len(PREFIX) :], [one[len(PREFIX) :] for one in known], 1, 0.7)
        hint = (
            f"did you mean {PREFIX}{near[0]}?"
            if near
            else "nextbest serve --help lists all settings"
        )
        found.append(f"{name} is not a setting, and has no effect; {hint}")
    return found


def to_environ(settings: ServerSettings) -> dict[str, str]:
    """The variables that give these settings to another process; None is left out."""
    found = {}
    for setting in SETTINGS:
        value = getattr(settings, setting.field)
        if value is not None:
            found[setting.name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _whole_number(reason: str) -> str:
    """`Expected int >= 1`, in words."""
    bound = reason.removeprefix("Expected int").partition(",")[0].strip()
    for sign, word in ((">= ", "at least "), ("<= ", "at most ")):
        if bound.startswith(sign):
            return f"it must be {word}{bound.removeprefix(sign)}"
    return "it must be a whole number"


def _flag(setting: Setting, value: str) -> bool:
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise SettingsError(f"{setting.name} is {value!r}: it is true or false")
