"""Fields: what rule files and models may name, and how each is read from a situation.

One module for each family of fields; `table` finds the family of a name.
"""

from decision.core.fields.customers import STATE_FIELD
from decision.core.fields.dates import DATE_MEASURES, local_date, measured_date, parsed_date
from decision.core.fields.journeys import JOURNEY_MEASURES
from decision.core.fields.situation import Field, Read, Situation, UnknownField, at_path
from decision.core.fields.table import FAMILIES, FieldTable, Own, parse_field
from decision.core.fields.timed import timed_fields
from decision.core.fields.times import WEEKDAYS

__all__ = [
    "DATE_MEASURES",
    "FAMILIES",
    "JOURNEY_MEASURES",
    "STATE_FIELD",
    "WEEKDAYS",
    "Field",
    "FieldTable",
    "Own",
    "Read",
    "Situation",
    "UnknownField",
    "at_path",
    "local_date",
    "measured_date",
    "parse_field",
    "parsed_date",
    "timed_fields",
]
