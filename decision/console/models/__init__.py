"""Models: versions and their figures, the gate, what each would earn; promoting, rolling back."""

from decision.console.models.pages import routes

__all__ = ["routes"]
