"""Where customers, the log and budgets are kept: in Redis, or in this process."""

from __future__ import annotations

from decision.store.embedded.server import EmbeddedRedis
from decision.store.embedded.watch import WatchedRedis
from decision.store.memory_store import MemoryStore
from decision.store.redis_store import RedisStore

__all__ = ["EmbeddedRedis", "MemoryStore", "RedisStore", "WatchedRedis"]
