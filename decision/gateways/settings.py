"""The gateways file, which `NEXTBEST_GATEWAYS` names: gateways, channels, limits, opting out.

    gateways:
      hook: {type: webhook, url: "https://example.com/messages", secret: "${HOOK_SECRET}"}
    channels: {push: hook}
    limits: {push: 50/s}

`${NAME}` is the value of an environment variable. docs/delivery.md explains every key.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from decision.core.errors import NextbestError
from decision.files import access_hint
from decision.gateways.file import TYPE as FILE_TYPE
from decision.gateways.file import FileConfig
from decision.gateways.limits import Limit, how_to_write, limit_of
from decision.gateways.opting_out import PLACEHOLDER, with_links
from decision.gateways.protocol import Gateway, GatewayConfig
from decision.gateways.reading import Reading
from decision.gateways.registry import (
    Context,
    GatewayType,
    GatewayTypeError,
    gateway_types,
    load_type,
)
from decision.gateways.reports import ReportsConfig
from decision.gateways.templating import UNSUBSCRIBE_URL, reads_link
from decision.gateways.unsubscribe import UnsubscribeConfig, UnsubscribeLinks
from decision.rulebook.diagnostics import Diagnostic, hint_for, render_all
from decision.rulebook.yaml_source import INVALID, Node, read_yaml
from decision.rulebook.yaml_text import read_file

DEFAULT_FOLDER: Final = ".nextbest/outbox/"
"""Where deliveries go without a gateways file."""

_KEYS: Final = ("gateways", "channels", "limits", "unsubscribe")
HOW_TO_HAVE_LINKS: Final = (
    'add unsubscribe: {url: "https://messages.example.com", secret: "${UNSUBSCRIBE_SECRET}"}'
)
NAME: Final = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""How the name of a gateway may be written, as a regular expression."""


class GatewaySettingsError(NextbestError, ValueError):
    """A gateways file that cannot be used; its `diagnostics` say where and why."""

    def __init__(self, name: str, diagnostics: list[Diagnostic]) -> None:
        super().__init__(f"{name} cannot be used:\n\n{render_all(diagnostics)}")
        self.diagnostics = diagnostics


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway of the file: its name there, its type, and what it is told."""

    name: str
    type: str
    kind: GatewayType
    config: GatewayConfig


class ReportedGateway(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway about which somebody reports; `channel` is the one that it serves, if it is one.

    `carries` is whether what it delivers carries our ids, so that every report brings them back.
    """

    config: ReportsConfig
    channel: str | None = None
    carries: bool = True


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateways file says. `default` is the gateway of channels that it does not name.

    >>> settings = parse_gateways("gateways.yaml", '''
    ... gateways: {print: {type: file, path: outbox/}}
    ... channels: {push: print}
    ... limits: {push: 50/s}
    ... ''', {})
    >>> settings.gateway_of("push"), settings.gateway_of("sms"), settings.limits["push"].amount
    ('print', None, 50)
    """

    gateways: Mapping[str, Configured]
    channels: Mapping[str, str] = {}
    limits: Mapping[str, Limit] = {}
    unsubscribe: UnsubscribeLinks | None = None
    default: str | None = None

    def gateway_of(self, channel: str) -> str | None:
        """The name of the gateway that a channel's deliveries go to; None where there is none."""
        return self.channels.get(channel, self.default)

    def open(self, name: str) -> Gateway:
        """The gateway of that name, made anew; it is closed by whoever opens it."""
        found = self.gateways[name]
        made = found.kind.make(found.config, Context(name=name, unsubscribe=self.unsubscribe))
        # What is written where nothing was set up is for trying: it reaches nobody.
        return made if self.default == name else with_links(made, self.unsubscribe)


def load_gateways(path: str | None, environ: Mapping[str, str] | None = None) -> GatewaySettings:
    """The settings of a gateways file; without one, everything goes to files in `.nextbest/`.

    Raises:
        GatewaySettingsError: the file cannot be read, or has errors, each named with its place.
    """
    if path is None:
        config = FileConfig(path=DEFAULT_FOLDER)
        file = Configured(name="file", type="file", kind=FILE_TYPE, config=config)
        return GatewaySettings(gateways={"file": file}, default="file")
    return parse_gateways(path, read_gateways_file(path), environ)


def load_unsubscribe(
    path: str | None, environ: Mapping[str, str] | None = None
) -> UnsubscribeLinks | None:
    """The links to opt out alone; what gateways need is not asked for, as a server may lack it.

    Raises:
        GatewaySettingsError: as `load_gateways`.
    """
    if path is None:
        return None
    reading, sections = sections_of(path, read_gateways_file(path), environ)
    found = _unsubscribe(reading, sections)
    _refuse(path, reading)
    return found


def load_reports(
    path: str | None, environ: Mapping[str, str] | None = None
) -> dict[str, ReportedGateway]:
    """Gateway → who reports about it; what gateways need besides is not asked for.

    Raises:
        GatewaySettingsError: as `load_gateways`.
    """
    if path is None:
        return {}
    reading, sections = sections_of(path, read_gateways_file(path), environ)
    found = _all_reports(reading, sections)
    _refuse(path, reading)
    return found


class Inward(msgspec.Struct, frozen=True, kw_only=True):
    """What a server needs of the file: the links it reads, and the reports it verifies.

    `unusable` has what it cannot: gateway → what is wrong with its `reports`; under None, with
    `unsubscribe`. `problems` is what keeps all of the file from being used.
    """

    links: UnsubscribeLinks | None = None
    reports: Mapping[str, ReportedGateway] = {}
    unusable: Mapping[str | None, list[Diagnostic]] = {}
    problems: list[Diagnostic] = []

    def why_not(self, gateway: str | None) -> list[Diagnostic]:
        """What is wrong with the reports of a gateway, or the links; nothing where nothing is."""
        return self.problems or self.unusable.get(gateway, [])


def load_inward(path: str | None, environ: Mapping[str, str] | None = None) -> Inward:
    """What a server that starts whatever the file says can use of it."""
    if path is None:
        return Inward()
    try:
        reading, sections = sections_of(path, read_gateways_file(path), environ)
    except GatewaySettingsError as error:
        return Inward(problems=error.diagnostics)
    unusable: dict[str | None, list[Diagnostic]] = {}

    def done(name: str | None) -> None:
        if found := reading.everything:
            unusable[name] = found
        reading.diagnostics, reading.unset = [], []

    done(None)  # keys that the file cannot have hinder nothing
    unusable.clear()
    links = _unsubscribe(reading, sections)
    done(None)
    reports = _all_reports(reading, sections, done)
    return Inward(links=links, reports=reports, unusable=unusable)


def _all_reports(
    reading: Reading, sections: Mapping[str, Node], done: Callable[[str], None] = lambda name: None
) -> dict[str, ReportedGateway]:
    """Those that are right; `done` is called with the name of each gateway that was read."""
    found: dict[str, ReportedGateway] = {}
    served: defaultdict[str, list[str]] = defaultdict(list)
    if (node := sections.get("channels")) is not None:
        for channel, one in reading.mapping(node, "channels").items():
            served[str(one.value)].append(channel)
    if (node := sections.get("gateways")) is not None:
        for name, one in reading.mapping(node, "gateways").items():
            unset = len(reading.unset)
            config = _reports(reading, name, one)
            if config is not None and len(reading.unset) == unset:
                only = served[name][0] if len(served[name]) == 1 else None
                kind = one.value.get("type")
                carries = config.provider == "webhook" or (kind and kind.value == "smtp")
                found[name] = ReportedGateway(config=config, channel=only, carries=bool(carries))
            done(name)
    return found


def _reports(reading: Reading, name: str, node: Node) -> ReportsConfig | None:
    own = node.value.get("reports") if isinstance(node.value, dict) else None
    if own is None:
        return None
    what = f"reports of gateway {name}"
    config = reading.struct(own, ReportsConfig, what)
    if config is None or reading.problems(own, config.problems(), what):
        return None
    return config


def parse_gateways(
    name: str, data: bytes | str, environ: Mapping[str, str] | None = None
) -> GatewaySettings:
    """The settings of a text; `name` is the file's name in errors.

    Raises:
        GatewaySettingsError: it has errors.
    """
    reading, settings = read_gateways(name, data, environ)
    _refuse(name, reading)
    return settings


def read_gateways(
    name: str, data: bytes | str, environ: Mapping[str, str] | None = None
) -> tuple[Reading, GatewaySettings]:
    """As `parse_gateways`, for a check: what was found, and the settings without what is wrong.

    Raises:
        GatewaySettingsError: it is no YAML, or empty.
    """
    reading, sections = sections_of(name, data, environ)
    unsubscribe = _unsubscribe(reading, sections)
    gateways: dict[str, Configured] = {}
    known: dict[str, Node] = {}
    if (node := sections.get("gateways")) is not None:
        known = reading.mapping(node, "gateways")
        for key, one in known.items():
            _check_links(reading, key, one)
            if not re.fullmatch(NAME, key):
                message = "the name of a gateway has letters, digits, - and _, and 64 at most"
                reading.error("bad-name", one.key, message)
            elif (found := _gateway(reading, key, one)) is not None:
                gateways[key] = found
    channels: dict[str, str] = {}
    if (node := sections.get("channels")) is not None:
        for channel, one in reading.mapping(node, "channels").items():
            text = reading.text(one, f"the gateway of the channel {channel}")
            if text is not None and text not in known:
                message = f'there is no gateway "{text[:60]}"'
                reading.error("unknown-name", one.at, message, hint_for(text, known))
            elif text is not None:
                channels[channel] = text
                told = gateways.get(text)
                if told is not None and not told.config.tells_of_deliveries:
                    message = f"{text} says nothing of what it is to send: each request is the same"
                    hint = "give it a body with templates, or take another gateway"
                    reading.error("no-content", one.at, message, hint)
    limits: dict[str, Limit] = {}
    if (node := sections.get("limits")) is not None:
        for channel, one in reading.mapping(node, "limits").items():
            if channel not in channels:
                message = f'"{channel[:60]}" is not one of the channels here'
                reading.error("unknown-name", one.key, message, hint_for(channel, channels))
            elif (limit := _limit(reading, one, channel)) is not None:
                limits[channel] = limit
    settings = GatewaySettings(
        gateways=gateways, channels=channels, limits=limits, unsubscribe=unsubscribe
    )
    return reading, settings


def _limit(reading: Reading, node: Node, channel: str) -> Limit | None:
    text = str(reading.plain(node, f"the limit of {channel}"))
    limit = limit_of(text)
    if limit is None and reading.is_known(node) and node.value is not INVALID:
        message = f"the limit of {channel} must be how many deliveries in a time"
        # What is in the file may be shown; what a variable has may be a secret.
        hint = how_to_write(text if text == str(node.value) else "")
        reading.error("bad-value", node.at, message, hint)
    return limit


def _refuse(name: str, reading: Reading) -> None:
    if found := reading.everything:
        raise GatewaySettingsError(name, found)


def read_gateways_file(path: str) -> bytes:
    """The bytes of the file.

    Raises:
        GatewaySettingsError: it cannot be read.
    """
    try:
        return read_file(Path(path))
    except OSError as error:
        hint = access_hint(Path(path)) if isinstance(error, PermissionError) else ""
        message = f"{error.strerror or error}{hint}"
        found = Diagnostic(code="unreadable-file", file=path, message=message)
        raise GatewaySettingsError(path, [found]) from None


def sections_of(
    name: str, data: bytes | str, environ: Mapping[str, str] | None
) -> tuple[Reading, dict[str, Node]]:
    """The sections of the file, each with its node; a file that is no YAML ends the reading."""
    source = read_yaml(name, data)
    reading = Reading(os.environ if environ is None else environ)
    reading.diagnostics = [
        msgspec.structs.replace(found, source_line="") for found in source.diagnostics
    ]
    if source.root is None or source.root.value is None:
        if not reading.diagnostics:
            message = "the file is empty"
            hint = "write gateways: and channels:, see docs/delivery.md"
            found = Diagnostic(code="missing-key", file=name, message=message, hint=hint)
            reading.diagnostics.append(found)
        raise GatewaySettingsError(name, reading.diagnostics)
    sections = reading.mapping(source.root, "the gateways file")
    for key, node in sections.items():
        if key not in _KEYS:
            message = f'the gateways file cannot have the key "{key[:60]}"'
            reading.error("unknown-key", node.key, message, hint_for(key, _KEYS))
    reading.has_links = "unsubscribe" in sections
    return reading, sections


def _gateway(reading: Reading, name: str, node: Node) -> Configured | None:
    what = f"gateway {name}"
    keys = reading.mapping(node, what)
    types = gateway_types()
    if "type" not in keys:
        if isinstance(node.value, dict):
            hint = f"add type: {hint_for('', types).removeprefix('use ')}"
            reading.error("missing-key", node.key, f'{what} needs the key "type"', hint)
        return None
    kind = keys["type"].value
    if kind is INVALID:
        return None
    if not isinstance(kind, str) or kind not in types:
        hint = hint_for(kind if isinstance(kind, str) else "", types)
        reading.error("unknown-name", keys["type"].at, f"the type of {what} is not known", hint)
        return None
    try:
        loaded = load_type(types[kind])
    except GatewayTypeError as error:
        reading.error("bad-value", keys["type"].at, str(error))
        return None
    config = reading.struct(node, loaded.config, what, skip="type")
    if config is None:
        return None
    _reports(reading, name, node)
    if reading.problems(node, loaded.check(config), what) or not reading.is_known(node):
        return None
    return Configured(name=name, type=kind, kind=loaded, config=config)


def _check_links(reading: Reading, name: str, node: Node) -> None:
    """Names texts of a gateway in which a link to opt out would be none."""
    value = node.value
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _check_links(reading, name, one)
    elif isinstance(value, str) and PLACEHOLDER in value:
        message = f"gateway {name}: {PLACEHOLDER} is replaced in contents of messages alone"
        hint = f"write {{{{ delivery.{UNSUBSCRIBE_URL} }}}}"
        reading.error("bad-value", node.at, message, hint)
    elif isinstance(value, str) and not reading.has_links and reads_link(value):
        message = f"gateway {name} sends the link to opt out, and there is no unsubscribe"
        reading.error("missing-key", node.at, message, HOW_TO_HAVE_LINKS)


def _unsubscribe(reading: Reading, sections: Mapping[str, Node]) -> UnsubscribeLinks | None:
    node = sections.get("unsubscribe")
    if node is None:
        return None
    config = reading.struct(node, UnsubscribeConfig, "unsubscribe")
    if config is None or reading.problems(node, config.problems(), "unsubscribe"):
        return None
    return UnsubscribeLinks.of(config) if reading.is_known(node) else None
