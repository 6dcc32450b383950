"""A broker for tests: librdkafka's own, on a socket, with Kafka's protocol, groups and offsets.

It is part of the library that `confluent-kafka` brings, which has no Python for it.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest

OFFSET_COMMIT, SYNC_GROUP = 8, 14
"""The numbers of these requests in Kafka's protocol."""


def _library() -> Any:
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    found = next(folder.glob("librdkafka-*"), None)
    if found is None:
        pytest.skip("this confluent-kafka does not bring librdkafka")
    library = ctypes.CDLL(str(found))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, given in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_new", pointer, [ctypes.c_int, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, ctypes.c_int]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_topic_create", ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.c_int]),
        ("rd_kafka_mock_broker_set_down", ctypes.c_int, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_broker_set_up", ctypes.c_int, [pointer, ctypes.c_int32]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, given
    return library


class Broker:
    """One broker, and what writes to its topics."""

    def __init__(self, library: Any, cluster: int) -> None:
        self._library = library
        self._cluster = cluster
        self.address = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": self.address, "message.max.bytes": 20_000_000, "log_level": 0}
        )

    def create(self, topic: str, partitions: int = 4) -> None:
        self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)

    def send(self, topic: str, *values: Any, **given: Any) -> None:
        for value in values:
            body = json.dumps(value).encode() if isinstance(value, dict) else value
            self._producer.produce(topic, body, **given)
        assert self._producer.flush(20) == 0

    def committed(self, group: str, topic: str) -> int:
        """The offsets that a group has committed, added up."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.address, "group.id": group})
        try:
            parts = consumer.list_topics(topic, timeout=20).topics[topic].partitions
            asked = [confluent_kafka.TopicPartition(topic, one) for one in parts]
            return sum(max(0, one.offset) for one in consumer.committed(asked, timeout=20))
        finally:
            consumer.close()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Meanwhile it answers nobody."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, 1)
        try:
            yield
        finally:
            self._library.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def fail(self, request: int, *errors: int) -> None:
        """The next requests of a kind get these errors, by Kafka's numbers."""
        numbers = [ctypes.c_int(error) for error in errors]
        self._library.rd_kafka_mock_push_request_errors(
            ctypes.c_void_p(self._cluster),
            ctypes.c_int16(request),
            ctypes.c_size_t(len(numbers)),
            *numbers,
        )


@contextmanager
def running_broker() -> Iterator[Broker]:
    """A broker from its start to its end."""
    library = _library()
    problem = ctypes.create_string_buffer(256)
    handle = library.rd_kafka_new(0, library.rd_kafka_conf_new(), problem, len(problem))
    assert handle, problem.value
    cluster = library.rd_kafka_mock_cluster_new(handle, 1)
    try:
        yield Broker(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(handle)
