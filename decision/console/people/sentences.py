"""What a decision came to, as one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from decision.console.language import N_, Language
from decision.console.words import REASONS
from decision.core import records
from decision.core.reasons import Reason
from decision.core.schema import Decision, ExplanationRow

_SHOWN: Final = 3
_NO_CANDIDATES: Final = (Reason.NOT_IN_PLACEMENT.value, Reason.INACTIVE.value)


def outcome_sentence(
    decision: Decision, language: Language, who: Markup, when: Markup, *, would: bool = False
) -> Markup:
    """What somebody got and why; `would`: what they would get."""
    say = language.gettext
    why = because(decision, language)
    given = Markup(", ").join(
        say(
            N_("%(message)s by %(channel)s"),
            message=Markup("<strong>{}</strong>").format(one.message),
            channel=one.channel,
        )
        for one in decision.selections
    )
    if would and given:
        text = N_("At %(time)s %(who)s would get %(what)s, because %(why)s.")
    elif would:
        text = N_("At %(time)s %(who)s would get nothing, because %(why)s.")
    elif records.NOT_GIVEN in decision.degraded:
        text = N_("At %(time)s %(what)s was chosen for %(who)s, and nobody was given it.")
    elif given:
        text = N_("At %(time)s %(who)s got %(what)s, because %(why)s.")
    else:
        text = N_("At %(time)s %(who)s got nothing, because %(why)s.")
    return Markup("{}").format(say(text, time=when, who=who, what=given, why=why))


def because(decision: Decision, language: Language) -> str:
    """Why a decision came to what it did, as part of a sentence."""
    say, rows = language.gettext, decision.explanation
    if "store" in decision.degraded:
        return say(N_("the store did not answer in time"))
    if decision.outcome == "selected":
        return _won(decision, rows or (), language)
    reason = say(REASONS[decision.reason]) if decision.reason in REASONS else ""
    fell = _fell(rows or (), language)
    if decision.outcome == "fallback":
        return say(
            N_("no message could be chosen (%(why)s), and this is the placement's fallback"),
            why=fell or reason or say(N_("not said")),
        )
    if fell:
        return say(N_("no message was left (%(why)s)"), why=fell)
    return reason or say(N_("the placement has no message"))


def _won(decision: Decision, rows: Sequence[ExplanationRow], language: Language) -> str:
    say, [first, *_] = language.gettext, decision.selections
    scored = [row for row in rows if row.reason in (None, Reason.OUTRANKED.value)]
    if first.priority is None:
        return say(N_("it was chosen; the record has no figures"))
    if not rows:
        return say(
            N_("its priority was %(priority)s; the rules of that time are not kept"),
            priority=language.number(first.priority, 4),
        )
    rivals = [row for row in scored if row.reason and row.selection_probability]
    better = [row for row in rivals if (row.priority or 0.0) > first.priority]
    if better:
        best = max(better, key=lambda row: row.priority or 0.0)
        return say(
            N_("it was drawn to learn, by a probability of %(share)s; %(best)s has more priority"),
            share=language.percent(first.selection_probability or 0.0),
            best=f"{best.message}/{best.channel}",
        )
    if len(scored) > len(decision.selections):
        return language.ngettext(
            "it came before %(n)s other candidate with its priority of %(priority)s",
            "it came before %(n)s other candidates with its priority of %(priority)s",
            len(scored) - len(decision.selections),
            priority=language.number(first.priority, 4),
        )
    return language.ngettext(
        "it alone was left of %(n)s candidate",
        "it alone was left of %(n)s candidates",
        sum(row.reason not in _NO_CANDIDATES for row in rows),
    )


def _fell(rows: Sequence[ExplanationRow], language: Language) -> str:
    """The reasons for which most candidates fell, with how many."""
    counts = Counter(row.reason for row in rows if row.reason)
    own = {name: count for name, count in counts.items() if name not in _NO_CANDIDATES} or counts
    most = sorted(own.items(), key=lambda one: -one[1])[:_SHOWN]
    return language.gettext(N_(", ")).join(
        f"{language.gettext(REASONS.get(name, name))}: {language.number(count)}"
        for name, count in most
    )
