"""Fixed texts of the engine that come through files, other processes and reports, as plain text.

`Language.told` translates a text that is one of them; what has values in it stays English.
"""

from __future__ import annotations

from typing import Final

from decision.console.language import N_

KNOWN: Final = (
    # Kinds of what scenarios can touch, and what they never did.
    N_("message"),
    N_("budget"),
    N_("candidate"),
    N_("rule"),
    N_("clause"),
    N_("state"),
    N_("placement"),
    N_("derived event"),
    N_("cap"),
    N_("coupon pool"),
    N_("suppression"),
    N_("consent"),
    N_("quiet hours"),
    N_("reply window"),
    N_("experiment"),
    N_("moment"),
    N_("journey"),
    N_("step"),
    N_("reason"),
    N_("given"),
    N_("inactive"),
    N_("not eligible"),
    N_("was spent"),
    N_("was empty"),
    N_("held something back"),
    N_("let something through"),
    N_("was lifted"),
    N_("was counted"),
    N_("was started"),
    N_("was entered"),
    N_("was open"),
    N_("was the reason"),
    N_("was the state"),
    N_("happened"),
    N_("fired"),
    N_("did not fire"),
    N_("gave something"),
    N_("gave nothing"),
    # Why runs of journeys end by themselves.
    N_("goal"),
    N_("stopped"),
    N_("finished"),
    N_("step_removed"),
    N_("journey_removed"),
    N_("unreadable_date"),
    N_("no_time"),
    N_("loop"),
    N_("merged"),
    N_("erased"),
    N_("cancelled"),
    # The gate of a model.
    N_("lift of value, lower bound"),
    N_("effective sample"),
    N_("skill, lower bound"),
    N_("responses without a message, lower bound"),
    N_("calibration error"),
    N_("parity (log-odds)"),
    N_("drift (PSI)"),
    N_("latency, µs"),
    N_("no log is given; give one with --log"),
    N_("it has no witnesses: write cross_fit: 3 in the spec, and train again"),
    N_("no version is in force to compare with"),
    N_("no policy is given; give one with --rules"),
    # Rows of the log that a model did not learn from.
    N_("whose window is still open"),
    N_("without an id, a customer, a time or a channel"),
    N_("that the log holds twice"),
    N_("of messages without a goal"),
    N_("with an impossible selection probability"),
    N_("without a selection probability to weigh by"),
    N_("released and never seen"),
    N_("of other scopes"),
    N_("in which nothing was selected"),
    N_("outcomes of decisions that the log does not have"),
    N_("outcomes that came before their decision"),
    N_("outcomes that the log holds again"),
    # Reports that are not complete.
    N_("some runs have not ended: conversions may still rise"),
    N_("the archive begins later than the range: earlier runs are not in it"),
    N_("the archive ends earlier than the range: archive again, later"),
    N_("no decision is in this range: take a longer one, or fewer conditions"),
)

OF_A_SOURCE: Final = (
    N_("the log begins later than the range: what was before is not in it"),
    N_("the archive begins later than the range: what was before is not in it"),
    N_("the log has no decisions yet"),
    N_("the archive has no decisions yet"),
)
"""Reports name there what they read."""
