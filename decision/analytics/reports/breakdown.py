"""By what a report is broken down: a property of an event, or a field of the customer as logged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Final, NamedTuple

from decision.analytics.candidates.segment import segment_field, text_of
from decision.analytics.queries import queries
from decision.analytics.reports.asking import property_path
from decision.analytics.reports.naming import fields_of_rules, unknown_name
from decision.analytics.reports.source import PACKAGE, Source
from decision.archive.registers import Registers
from decision.archive.replays import read_document
from decision.archive.tables import files
from decision.core.errors import InputError
from decision.core.fields import Field, Situation
from decision.core.said import Said

_CUSTOMER: Final = "customer."


class Breakdown(NamedTuple):
    """What names the groups: the JSON pointer of an event's property, or a customer's field."""

    option: str
    path: str | None = None
    field: Field | None = None


def breakdown_of(text: str, option: str = "by") -> Breakdown | None:
    """What an option asks for; None: nothing.

    Raises:
        InputError: it is neither a property of events nor a field that is stored with customers.
    """
    if not text:
        return None
    if not text.startswith(_CUSTOMER):
        return Breakdown(option, path=property_path(option, text))
    try:
        return Breakdown(option, field=segment_field(text))
    except InputError as error:
        raise InputError(option, error.detail) from None


def name_of(group: str | None) -> str:
    """What a group is called where people read it; None has no value."""
    return Said("none") if group is None else group


def largest(source: Source, sizes: Mapping[str | None, int], most: int) -> list[str | None]:
    """The names of the largest groups, of equal ones in the order of the alphabet; what is left out
    is noted."""
    order = sorted(sizes, key=lambda name: (-sizes[name], name is None, name or ""))
    if len(order) > most:
        left = f"{len(order) - most:,}"
        source.incomplete.append(Said("%(n)s smaller groups are left out", n=left))
    return order[:most]


def name_customers(source: Source, field: Field, table: str) -> None:
    """Makes the table `named` (customer, name) of the customers of a table (customer, us).

    The name is the value that the last decision up to then saw, or, where there was none, the first
    one afterwards. Customers without a value have no row.
    """
    import pyarrow as pa

    database = source.database
    names: list[tuple[str, str]] = []
    there: set[str] = set()
    afterwards = 0
    database.execute(_query("nobody_named"))
    if files(source.archive, "replays"):
        database.view_dataset("replays", files(source.archive, "replays"))
        database.execute(_query("sights").format(table=table))
        for customer, later, value in _values(source, field, there):
            afterwards += later and value is not None
            if value is not None:
                names.append((customer, value))
        known = {*there, *fields_of_rules(source)} if there and not names else None
        if known and not any(f"{field.name}.".startswith(f"{one}.") for one in known):
            raise unknown_name(source, "by", Said("field of customers"), field.name, sorted(there))
        columns = [pa.array([one[place] for one in names], pa.string()) for place in (0, 1)]
        database.connection.register("names", pa.table(columns, ["customer", "name"]))
        database.execute("INSERT INTO named SELECT * FROM names")
    total = database.value(f"SELECT count(DISTINCT customer) FROM {table}")
    unknown = total - len(names)
    if unknown:
        source.incomplete.append(
            Said(
                "%(field)s of %(n)s customers is not known: no decision about them saw one",
                field=field.name,
                n=f"{unknown:,}",
            )
        )
    if afterwards:
        source.incomplete.append(
            Said(
                "%(field)s of %(n)s customers is that of a decision afterwards: there was none "
                "before",
                field=field.name,
                n=f"{afterwards:,}",
            )
        )


def _values(
    source: Source, field: Field, there: set[str]
) -> Iterator[tuple[str, bool, str | None]]:
    """(customer, seen afterwards, value); the names of all that they have are put into `there`."""
    registers = Registers(source.archive)
    for customer, seen, later in source.database.rows(_query("seen")):
        document = read_document(seen, registers)
        there.update(f"{_CUSTOMER}{name}" for name in document.attributes)
        situation = Situation(document, "", seen["decided_us"], UTC)
        yield customer, later, text_of(field.read(situation))


def _query(name: str) -> str:
    return queries(PACKAGE, "breakdown.sql")[name]
