"""A chart of what two policies give, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from decision.console.language import N_, Language
from decision.drafts.results import Row


def compared(title: str, rows: Sequence[tuple[str, Row]], language: Language) -> Markup:
    """Two bars per row, the old one above, with their numbers beside them."""
    if not rows:
        return Markup("")
    most = max((max(row.old, row.new) for _, row in rows), default=0) or 1
    body = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="number">{}</td><td class="number">{}</td><td>'
            '<svg viewBox="0 0 100 10" width="100%" height="16" preserveAspectRatio="none" '
            'aria-hidden="true"><rect class="s8" width="{:.2f}" height="4.5"/>'
            '<rect class="s1" y="5.5" width="{:.2f}" height="4.5"/></svg></td></tr>'
        ).format(
            name,
            language.number(row.old),
            language.number(row.new),
            100 * row.old / most,
            100 * row.new / most,
        )
        for name, row in rows
    )
    sides = ((N_("In force"), "s8"), (N_("Draft"), "s1"))
    head = Markup("").join(
        Markup(
            '<th scope="col" class="number"><svg viewBox="0 0 10 10" aria-hidden="true">'
            '<rect class="{}" width="10" height="10"/></svg>{}</th>'
        ).format(colour, language.gettext(text))
        for text, colour in sides
    )
    return Markup(
        '<figure class="chart"><figcaption>{}</figcaption><table class="compared">'
        '<caption class="quiet">{}</caption><thead><tr><td></td>{}<td></td></tr></thead>'
        "<tbody>{}</tbody></table></figure>"
    ).format(title, title, head, body)
