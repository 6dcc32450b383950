"""Errors that are the caller's to mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from decision.core.ports import StoreUnavailable


class InputError(ValueError):
    """The input cannot be used. `path` is the place of the bad field (`event.at`)."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.path = path
        self.detail = detail


class NotReady(StoreUnavailable):
    """No policy is in force yet: the server is still starting, or waits for its store."""


class NotFound(LookupError):
    """What was asked for does not exist."""


def unknown(path: str, kind: str, name: str, known: Iterable[str]) -> InputError:
    """`placement: "app_hom" is not a placement of the policy; did you mean "app_home"?`"""
    names = sorted(known)
    shown = name if len(name) <= 60 else name[:57] + "…"
    near = get_close_matches(name[:200], names, 1)
    if near:
        hint = f'did you mean "{near[0]}"?'
    else:
        hint = f"known are {', '.join(names[:20])}" if names else "it has none"
    return InputError(path, f'"{shown}" is not a {kind} of the policy; {hint}')
