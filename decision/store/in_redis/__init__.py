"""The store in Redis, a file per capability; assembled in `redis_store`."""
