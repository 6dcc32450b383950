"""Takes new API keys from their file while the server runs."""

from __future__ import annotations

from pathlib import Path

from decision.api.auth import Gate, load_keys
from decision.api.settings import SettingsError
from decision.observability import get_logger

_log = get_logger()


class KeysFile:
    """The keys file, or none. Keys in force stay where it cannot be read."""

    def __init__(self, path: str | None, gate: Gate) -> None:
        self._path = path
        self._gate = gate
        self._changed = self._time()

    def look(self) -> None:
        """Puts the file's keys in force where it has changed."""
        changed = self._time()
        if self._path is None or changed is None or changed == self._changed:
            return
        self._changed = changed
        try:
            keys = load_keys(self._path)
        except SettingsError as error:
            _log.error("keys_refused", problem=str(error))
            return
        self._gate.use(keys)
        _log.info("keys_in_force", keys=len(keys))

    def _time(self) -> float | None:
        try:
            return None if self._path is None else Path(self._path).stat().st_mtime
        except OSError:
            return None
