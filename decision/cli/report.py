"""The group of all reports."""

from __future__ import annotations

import rich_click as click

from decision.cli.candidates import candidates, sensitivity, win_loss
from decision.cli.reports import report_commands
from decision.cli.retention import retention


@click.group(epilog="Example: nextbest report journey welcome --log archive")
def report() -> None:
    """Report on what customers did, on journeys and on candidates."""


for _command in (*report_commands(), candidates, win_loss, sensitivity, retention):
    report.add_command(_command)
