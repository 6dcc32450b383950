"""What is to be known of a backup before any of it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from decision.core.records import decode_change
from decision.maintenance.backups.file import BackupReader, End, Header
from decision.store.copying import CopiedKey
from decision.store.kinds_of_keys import customer_of
from decision.store.pseudonyms import KEYS, Pseudonyms

_PSEUDONYM_KEYS = b"{history}:" + KEYS.encode()


class Survey:
    """A backup that was read to its end: it is complete, and every byte is as it was written.

    `register` are the keys without which no document can be read. `erased` is pseudonym → when
    (microseconds) customers were erased that the backup may still have: by its own log, while it
    was taken.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.end = End(frames=0, customers=0, ended=0)
        self.register: list[CopiedKey] = []
        self.erased: dict[str, int] = {}
        self._names: Pseudonyms | None = None

    @classmethod
    def of(cls, reader: BackupReader, moved: Callable[[float], None] = lambda done: None) -> Survey:
        """Reads a backup.

        Raises:
            BackupError: it is damaged, or not complete.
        """
        survey = cls(reader.header)
        for frame in reader.frames():
            try:
                for key in frame.keys:
                    survey._look_at(key)
            except (ValueError, IndexError) as error:
                raise reader.damaged(str(error)) from None
            moved(reader.place())
        assert reader.end is not None
        survey.end = reader.end
        return survey

    def _look_at(self, key: CopiedKey) -> None:
        if key.key.startswith(b"{register}:"):
            self.register.append(key)
        elif key.type == "stream" and key.key.endswith(b"}:log"):
            for entry in entries(key.data):
                if entry.get(b"k") == b"erasure":
                    self._note(entry.get(b"b", b""))
        elif key.key == _PSEUDONYM_KEYS and key.data:
            self._names = Pseudonyms(key.data[0])

    def _note(self, body: bytes) -> None:
        try:
            record = decode_change(body)
        except msgspec.MsgspecError:
            return  # the archive sets it aside
        if record.change.get("pseudonym"):
            self.erase({record.customer_id: record.at})

    def erase(self, erased: Mapping[str, int]) -> None:
        """Takes note of erasures, pseudonym → when."""
        for pseudonym, at in erased.items():
            self.erased[pseudonym] = max(at, self.erased.get(pseudonym, 0))

    def was_erased(self, key: bytes, at: int) -> str | None:
        """The customer of a document, copied at a time (ms), who was erased afterwards."""
        if not self.erased or self._names is None or (customer := customer_of(key)) is None:
            return None
        return customer if self.erased.get(self._names.of(customer), 0) >= at * 1000 else None


def entries(data: list[bytes]) -> list[dict[bytes, bytes]]:
    """The fields of the entries of a stream, as `CopiedKey.data` has them."""
    found, place = [], 0
    while place < len(data):
        parts = data[place + 2 : place + 2 + int(data[place + 1])]
        found.append(dict(zip(parts[::2], parts[1::2], strict=True)))
        place += 2 + len(parts)
    return found
