"""Where customers, the log and budgets are kept: in Redis, or in this process."""

from __future__ import annotations

from decision.store.embedded import EmbeddedRedis
from decision.store.memory_store import MemoryStore
from decision.store.redis_store import RedisStore
from decision.store.redis_watch import WatchedRedis

__all__ = ["EmbeddedRedis", "MemoryStore", "RedisStore", "WatchedRedis"]
