"""The client of nextbest, which decides what to say next to a customer.

`Client` waits for answers, `AsyncClient` is for asyncio. Requests and answers are the API's JSON
as plain dicts, with types in `nextbest_client.types`.
"""

from nextbest_client.client import AsyncClient, Client
from nextbest_client.errors import (
    FieldProblem,
    NextbestError,
    NoAnswerError,
    ProblemError,
    TimedOutError,
)
from nextbest_client.lines import BadLine

__all__ = [
    "AsyncClient",
    "BadLine",
    "Client",
    "FieldProblem",
    "NextbestError",
    "NoAnswerError",
    "ProblemError",
    "TimedOutError",
]
