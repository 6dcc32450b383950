"""A page for each kind of report, made of what the kind says of itself."""

from decision.console.report_kinds.pages import routes

__all__ = ["routes"]
