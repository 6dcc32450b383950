"""A commit as both stores apply it: encoded, with everything that is compared."""

from __future__ import annotations

import random
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from struct import Struct
from typing import Final

import msgspec

from decision.core.ports import Commit, Section
from decision.store.codec import DIGEST, HEADER, LETTERS, VERSIONS, join
from decision.store.keys import event_digest
from decision.store.register import Register
from decision.store.sections import encode_section

_HEAD: Final = Struct("<d8s3II3BBBIB")
"""What every commit says to `commit.lua`, which describes it."""


class EncodedCommit(msgspec.Struct, frozen=True):
    """`expect` and `write` are letters of `pce`; `sections` are empty where not written.

    `flags` say of each section whether it is expected (1) and written (2). `first_version` is that
    of a document which this commit creates: random, so that a customer erased and seen again never
    repeats a version. How long things last is in milliseconds.
    """

    commit: Commit
    digest: bytes
    expect: str
    versions: tuple[int, int, int]
    write: str
    flags: tuple[int, int, int]
    sections: tuple[bytes, bytes, bytes]
    first_version: int
    answer: bytes
    answer_lasts: int
    event_ids_last: int
    event_digests: list[bytes]

    def arguments(self, until: float, sent: bool) -> list[str | bytes | int]:
        """What `commit.lua` takes.

        `until` is the time after which nothing is written, in milliseconds of the server's clock;
        `sent` says that it was sent before.
        """
        commit, digests, write = self.commit, self.event_digests, self.write
        head = _HEAD.pack(
            until,
            self.digest,
            *self.versions,
            self.first_version,
            *self.flags,
            sent,
            bool(commit.request_id),
            len(digests),
            commit.units is not None,
        )
        arguments: list[str | bytes | int] = [head]
        profile, contacts, events = self.sections
        if "p" in write:
            arguments.append(profile)
        if "c" in write:
            arguments.append(contacts)
        if "e" in write:
            arguments.append(events)
        if commit.request_id:
            arguments += (commit.request_id, self.answer, self.answer_lasts)
        if digests:
            arguments += (self.event_ids_last, *digests)
        for record in commit.records:
            arguments += (record.kind, record.id, record.body)
        return arguments

    def as_read(self, until: float) -> list[str | bytes | int] | None:
        """What `commit_as_read.lua` takes; None where it is not known how the document was read,
        where this very commit wrote that, or where it writes no section or not just one record.

        `until` is as for `arguments`; nothing else may be asked for.
        """
        raw, records = self.commit.raw, self.commit.records
        if raw is None or not self.write or len(records) != 1:
            return None
        versions = VERSIONS.unpack_from(raw, DIGEST.stop) if raw else (0, 0, 0)
        if versions != self.versions or raw[DIGEST] == self.digest:
            return None
        (record,) = records
        header, document = raw[: HEADER.size], self.spliced(raw)
        return [ceil(until), header, document, record.kind, record.id, record.body]

    def spliced(self, raw: bytes) -> bytes:
        """The document after this commit, from its bytes before; no bytes for a new one."""
        profile, contacts, events = self.sections
        p = c = e = self.first_version
        if raw:
            write = self.write
            _, _, p, c, e, after_profile, after_contacts, _ = HEADER.unpack_from(raw)
            after_profile += HEADER.size
            after_contacts += after_profile
            if "p" in write:
                p = p % 0xFFFF_FFFF + 1
            else:
                profile = raw[HEADER.size : after_profile]
            if "c" in write:
                c = c % 0xFFFF_FFFF + 1
            else:
                contacts = raw[after_profile:after_contacts]
            if "e" in write:
                e = e % 0xFFFF_FFFF + 1
            else:
                events = raw[after_contacts:]
        return join(self.digest, (p, c, e), (profile, contacts, events))


def encode_commit(commit: Commit, register: Register) -> EncodedCommit:
    """Encodes a commit; names without a number are then in `register.names.take_wanted()`."""
    document, version, write = commit.document, commit.version, commit.write
    return EncodedCommit(
        commit,
        commit_digest(commit.id),
        _letters(commit.expect),
        (version.profile, version.contacts, version.events),
        _letters(write),
        _flags(commit.expect, write),
        (
            encode_section(document, "profile", register) if "profile" in write else b"",
            encode_section(document, "contacts", register) if "contacts" in write else b"",
            encode_section(document, "events", register) if "events" in write else b"",
        ),
        random.getrandbits(32) or 1,
        commit.answer or b"",
        _milliseconds(commit.answer_lasts),
        _milliseconds(commit.event_ids_last),
        [event_digest(event_id) for event_id in commit.event_ids] if commit.event_ids else [],
    )


@lru_cache(64)
def _letters(sections: tuple[Section, ...]) -> str:
    return "".join([section[0] for section in sections])


@lru_cache(64)
def _flags(expect: tuple[Section, ...], write: tuple[Section, ...]) -> tuple[int, int, int]:
    expected, written = _letters(expect), _letters(write)
    profile, contacts, events = [
        (letter in expected) + 2 * (letter in written) for letter in LETTERS
    ]
    return profile, contacts, events


def commit_digest(commit_id: str) -> bytes:
    """The 8 bytes by which a commit is recognised when it is tried again."""
    return blake2b(commit_id.encode(), digest_size=8).digest()


def _milliseconds(micros: int) -> int:
    """Rounded up, at least 1: Redis refuses to keep something for no time."""
    return max(1, -(-micros // 1000))
