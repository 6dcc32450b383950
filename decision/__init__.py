"""nextbest: decides, while the customer waits, what to say next, on which channel, or nothing."""

__version__ = "0.1.0"
