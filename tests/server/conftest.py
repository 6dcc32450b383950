"""Fixtures of the server's tests: those of the API, which it serves."""

from tests.api.conftest import api, rules

__all__ = ["api", "rules"]
