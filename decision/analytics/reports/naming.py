"""Names that questions have: one rule for all of them.

A name that neither the rules nor the archive know is an error, with the nearest that they do. One
that is known and has nothing in the range is a true zero, and the answer says since when, or until
when, there is something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from decision.analytics.queries import queries
from decision.analytics.reports.asking import ANY, Question, nearest, options_of
from decision.analytics.reports.source import PACKAGE, Source
from decision.archive.log_columns import Amount
from decision.archive.tables import files
from decision.core import calendar
from decision.core.clock import from_micros
from decision.core.errors import InputError
from decision.core.local_days import BEGIN, END
from decision.core.said import Said, marked
from decision.rulebook.policy_names import names_in

_LISTED: Final = 12
_EVENT: Final = "event."


class _Column(NamedTuple):
    """Where a kind of name is in the archive: the dataset, its column, and the time of a row.

    `noun` is what one is called, `none` the beginning of a sentence that there is nothing of it.
    """

    dataset: str
    column: str
    moment: str
    noun: str
    none: str


_COLUMNS: Final = {
    "events": _Column("events", "type", '"at"', marked("event"), marked("no event %(name)s")),
    "channels": _Column(
        "decisions", "channel", "decided_at", marked("channel"), marked("no message by %(name)s")
    ),
    "placements": _Column(
        "decisions",
        "placement",
        "decided_at",
        marked("placement"),
        marked("no decision at %(name)s"),
    ),
    "messages": _Column(
        "decisions",
        "message",
        "decided_at",
        marked("message"),
        marked("no contact with %(name)s"),
    ),
    "journeys": _Column(
        "journeys", "journey", "started", marked("journey"), marked("no run of %(name)s")
    ),
}


def check_names(source: Source, question: Question) -> None:
    """Checks all names that a question has, by what its options say that they are names of.

    Raises:
        InputError: neither the rules nor the archive know one.
    """
    for option in options_of(type(question)):
        given = getattr(question, option.name, None) or ()
        names = [given] if isinstance(given, str) else list(given) if option.of else []
        if option.of == "called":
            _check_called(source, option.name, names, getattr(question, "by", ""))
        elif option.of in _COLUMNS:
            check(source, option.of, option.name, names, afterwards=option.afterwards)
        elif option.of == "fields":
            for name in names:
                if name.startswith(_EVENT):
                    check_property(source, option.name, name)


def check(
    source: Source, kind: str, option: str, names: Iterable[str], *, afterwards: bool = False
) -> None:
    """Checks names of events, channels, placements, messages or journeys.

    `afterwards`: what comes after the range counts as well.

    Raises:
        InputError: neither the rules nor the archive know one.
        NothingFound: the archive has nothing in which such a name could be.
    """
    names = [name for name in dict.fromkeys(names) if name and name != ANY]
    if not names:
        return
    where = _COLUMNS[kind]
    source.need(where.dataset)
    known = _archived(source, kind)
    derived = {one.name: one.of for one in source.policy.events} if source.policy else {}
    for name in names:
        if kind == "events" and name in derived and name not in known:
            text = Said(
                "%(name)s is a derived event, and not in the log; use %(of)s, of which it is made",
                name=name[:60], of=derived[name],
            )  # fmt: skip
            raise InputError(option, text)
        if name not in known and name not in (rules := _of_rules(source, kind)):
            raise unknown_name(source, option, Said(where.noun), name, (*known, *sorted(rules)))
        _note(source, Said(where.none, name=name), known.get(name), afterwards=afterwards)


def unknown_name(
    source: Source, option: str, noun: Said, name: str, known: Iterable[str]
) -> InputError:
    """The error of a name that neither the rules nor the archive know; it lists some known ones."""
    names = list(dict.fromkeys(known))
    there = nearest(name, names) or (
        Said("; there are %(names)s", names=", ".join(names[:_LISTED])) if names else ""
    )
    text = Said(
        'neither the rules nor %(archive)s have the %(noun)s "%(name)s"%(there)s',
        archive=source.archive, noun=noun, name=name[:60], there=there,
    )  # fmt: skip
    return InputError(option, text)


def check_property(source: Source, option: str, name: str, event: str = "") -> None:
    """Checks the name of a property of events, of one type where it is named.

    Raises:
        InputError: no such event has it, and no rule names it.
    """
    own = name.removeprefix(_EVENT)
    if event and event not in _archived(source, "events"):
        return  # there is none that could have it
    given = {"event": event or None, "path": Amount("", own).path}
    if source.database.rows(_query("has_property"), given):
        return
    noted = Said("no event has the property %(name)s", name=own)
    if event:
        noted = Said("no event %(event)s has the property %(name)s", event=event, name=own)
    if not option or own in _of_rules(source, "properties"):
        source.note(noted)
        return
    there = [one for (one,) in source.database.rows(_query("properties"), {"event": event or None})]
    raise unknown_name(source, option, Said("property of events"), own, there)


def _check_called(source: Source, option: str, names: list[str], by: str) -> None:
    """Names of events, or, with `by`, values of a property."""
    if by.startswith(_EVENT):
        given = {"path": Amount("", by.removeprefix(_EVENT)).path, "names": names}
        values = {one for (one,) in source.database.rows(_query("values"), given)}
        names = [one for one in names if one not in values]
    check(source, "events", option, names)


def check_range(source: Source) -> None:
    """Says which range the archive has, where nothing of it is in the range of the question."""
    if source.outside:
        ends = min(one for one, _ in source.ends), source.reach[1]
        since, until = (_local(source, one) for one in ends)
        source.note(
            Said(
                "the archive goes from %(since)s to %(until)s: nothing of it is in the range",
                since=since, until=until,
            )
        )  # fmt: skip


def _archived(source: Source, kind: str) -> Mapping[str, tuple[int, int, int]]:
    """Name → how many rows of the range have it, and when the first and the last is, of all."""
    where, span = _COLUMNS[kind], source.span
    if kind not in source.named:
        paths = files(source.archive, where.dataset)
        view = "archived"
        if where.dataset != "events":
            view = f"named_{where.dataset}"
            source.database.scan_dataset(view, paths, where.dataset)
        query = _query("named").format(view=view, column=where.column, moment=where.moment)
        given = {"begin": span.begin - span.shift, "end": span.end + span.shift}
        rows = source.database.rows(query, given) if paths else []
        source.named[kind] = {name: (count, first, last) for name, count, first, last in rows}
    return source.named[kind]


def fields_of_rules(source: Source) -> set[str]:
    """The fields that the rules name, as `customer.city`."""
    return set(names_in(source.policy.files).of("fields")) if source.policy else set()


def _of_rules(source: Source, kind: str) -> set[str]:
    """The names of a kind in the rules; `properties` are those of events."""
    if source.policy is None:
        return set()
    match kind:
        case "events":
            policy = source.policy
            used = {one.event for one in policy.metrics}
            used |= {step for one in policy.funnels for step in one.steps}
            return used | set(names_in(policy.files).of("event_types"))
        case "properties":
            valued = {one.value for one in source.policy.metrics if one.value}
            fields = (one for one in fields_of_rules(source) if one.startswith(_EVENT))
            return valued | {one.removeprefix(_EVENT) for one in fields}
        case _:
            return {one.name for one in getattr(source.policy, kind)}


def _note(
    source: Source, none: Said, found: tuple[int, int, int] | None, *, afterwards: bool
) -> None:
    """Says that there is nothing in the range; `none` begins the sentence."""
    begin, end = source.span.begin, source.span.end
    if found is None:
        source.note(Said("%(none)s ever came", none=none))
        return
    count, first, last = found
    if count or source.outside or (afterwards and last >= begin):
        return
    values: dict[str, Any] = {"none": none, "last": _local(source, last)}
    since, until = _local(source, begin), _local(source, end)
    if begin <= BEGIN:
        text = Said(
            "%(none)s came before %(until)s; the first is of %(first)s",
            none=none, until=until, first=_local(source, first),
        )  # fmt: skip
    elif end >= END:
        text = Said(
            "%(none)s came since %(since)s; the latest is of %(last)s", since=since, **values
        )
    else:
        text = Said(
            "%(none)s came from %(since)s to %(until)s; the latest is of %(last)s",
            since=since, until=until, **values,
        )  # fmt: skip
    source.note(text)


def _local(source: Source, at: int) -> str:
    if not BEGIN < at < END:
        return ""
    return f"{from_micros(at).astimezone(calendar.zone(source.span.home)):%Y-%m-%d %H:%M}"


def _query(name: str) -> str:
    return queries(PACKAGE, "naming.sql")[name]
