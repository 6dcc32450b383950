"""A report as a page of its own: a file that needs nothing else, to be sent to somebody."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from decision.analytics.reports.answering import Answer, Column, Shown, local, moment_text
from decision.console.language import Language
from decision.console.report_cells import cell
from decision.console.report_charts import STYLE, figures

_STYLE: Final = """
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:0 0 1.5rem;font-size:.9rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884;overflow-wrap:anywhere}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
caption{text-align:left;font-weight:600}
figure{margin:0 0 1.5rem}figcaption{font-weight:600}
figure>svg{width:100%;max-width:45rem;height:auto}.zone{font-size:.8rem;opacity:.8;margin:0}
.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1rem}
.legend svg{width:.7rem;margin-right:.3rem}.quiet{position:absolute;clip-path:inset(50%)}
@media(prefers-color-scheme:dark){svg text{fill:#a5afb9!important}}
"""


def report_page(kind: str, summary: str, found: Answer, shown: Shown) -> str:
    """HTML of one report: its sentences, charts, tables, and what is not complete."""
    language = Language("en")
    begin, end = (local(at, found.timezone) for at in (found.from_, found.until))
    parts = [Markup("<p>{}</p>").format(sentence) for sentence in (*shown.warnings, *shown.said)]
    parts.append(
        Markup("<p>{} to {} ({}); {} customers, {} events</p>").format(
            begin or "the beginning",
            end or "the end",
            found.timezone,
            language.number(found.customers),
            language.number(found.events),
        )
    )
    parts += figures(shown.charts, language, found.timezone)
    for table in shown.tables:
        head = Markup("").join(
            Markup('<th scope="col"{}>{}</th>').format(_class(column), column.name)
            for column in table.columns
        )
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(
                Markup("").join(
                    Markup("<td{}>{}</td>").format(_class(column), cell(value, column, language))
                    for value, column in zip(row, table.columns, strict=True)
                )
            )
            for row in table.rows
        )
        parts.append(
            Markup(
                "<table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
            ).format(table.title, head, body)
        )
    parts += [Markup("<p>Not complete: {}</p>").format(text) for text in found.incomplete]
    if found.archived_until is not None:
        parts.append(
            Markup("<p>Archived until {}</p>").format(
                moment_text(found.archived_until, found.timezone)
            )
        )
    return Markup(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>{}</title><style>{}</style>'
        "</head><body><h1>{}</h1>{}</body></html>\n"
    ).format(kind, Markup(STYLE + _STYLE), summary, Markup("\n").join(parts))


def _class(column: Column) -> Markup:
    return Markup("") if column.form == "text" else Markup(' class="number"')
