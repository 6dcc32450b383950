"""Pseudonyms: what stands for a customer's id where the id itself must not be kept.

A plain digest of an e-mail address is found by trying addresses, so the digest has a key: 32 random
bytes, made once per installation and kept in its Redis, in the history `pseudonym-keys`. The key is
never written to the archive: who has only its files cannot try ids. Whoever has both can tell
whether an id that they already know is meant.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Final

from decision.core.errors import NextbestError
from decision.core.ports import BlobStore
from decision.store.damage import damaged

KEYS: Final = "pseudonym-keys"
"""The named history whose first entry is the key; it is in a backup of Redis, like all else."""

_KEY_SIZE: Final = 32
_KEPT: Final = 1_000
"""Entries that stay: of processes that make a key at once, the first one's counts for all."""


class WrongKey(NextbestError, LookupError):
    """A pseudonym was made with a key that this installation does not have (any more)."""


class Pseudonyms:
    """Makes the pseudonyms of one installation.

    >>> names = Pseudonyms(bytes(32))
    >>> names.of("li@mail.cn")
    'p-2fcbcca4-fc2a76d30277903e0b3b337e34a2cea3'
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._prefix = f"p-{blake2b(key, digest_size=4).hexdigest()}-"

    def of(self, customer_id: str) -> str:
        """The same for the same id; `p-`, 8 hex digits that name the key, `-`, 32 of the id."""
        found = blake2b(customer_id.encode(errors="surrogatepass"), digest_size=16, key=self._key)
        return self._prefix + found.hexdigest()

    def check(self, pseudonym: str) -> str:
        """The pseudonym, if it was made with this key.

        Raises:
            WrongKey: it was not.
        """
        if not pseudonym.startswith(self._prefix):
            raise WrongKey(
                f"the pseudonym {pseudonym[:11]}… was made with a key that is not in this Redis; "
                "restore it from a backup, or erase the customer again by id"
            )
        return pseudonym


async def pseudonyms(blobs: BlobStore) -> Pseudonyms:
    """Those of the installation that a store belongs to; makes its key where it has none.

    Read anew for each use: Redis may have been emptied or restored since.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    entries = await blobs.history(KEYS)
    if not entries:
        await blobs.append_history(KEYS, os.urandom(_KEY_SIZE), _KEPT)
        entries = await blobs.history(KEYS)
    if len(entries[0]) != _KEY_SIZE:
        raise damaged(f"the history {KEYS}", "its first entry is no key of this installation")
    return Pseudonyms(entries[0])
