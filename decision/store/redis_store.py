"""The store in Redis: the capabilities of `in_redis/` in one class; `commit` is in `documents`."""

from __future__ import annotations

from decision.store.in_redis.blobs import RedisBlobs
from decision.store.in_redis.copying import RedisCopying
from decision.store.in_redis.counts import RedisCounts
from decision.store.in_redis.coupons import RedisCoupons
from decision.store.in_redis.customers import RedisCustomers
from decision.store.in_redis.documents import RedisDocuments
from decision.store.in_redis.drafts import RedisDrafts
from decision.store.in_redis.file import RedisFile
from decision.store.in_redis.health import RedisHealth
from decision.store.in_redis.kept_sessions import RedisSessions
from decision.store.in_redis.log import RedisLog
from decision.store.in_redis.looking import RedisLooking
from decision.store.in_redis.sending import RedisSending
from decision.store.in_redis.servers import RedisServers


class RedisStore(
    RedisCopying,
    RedisDocuments,
    RedisCustomers,
    RedisCoupons,
    RedisSending,
    RedisLog,
    RedisBlobs,
    RedisDrafts,
    RedisSessions,
    RedisLooking,
    RedisCounts,
    RedisFile,
    RedisHealth,
    RedisServers,
):
    """Implements `decision.core.ports.Store` on one Redis, 6.2 or newer.

        store = RedisStore("redis://localhost:6379/0", prefix="nb:", timeout=2.0)
        await store.start()

    `timeout` is in seconds, for calls that name none. All keys begin with `prefix`. `replicas` is
    how many replicas must have a commit before it counts as durable.
    """
