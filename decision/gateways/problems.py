"""What is wrong with a config, as the checks of the types say it."""

from __future__ import annotations

Problem = tuple[str, str, str]
"""The path of the value in the config, as `headers.X-Tag`, or ""; the reason; the fix, or ""."""
