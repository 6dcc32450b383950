"""The connection that a URL asks for: one server, the one that sentinels name, or a cluster."""

from __future__ import annotations

from decision.store.cluster.connection import ClusterConnection
from decision.store.connection import OnConnect, SharedConnection
from decision.store.node_urls import parse_nodes_url
from decision.store.sentinel import SentinelConnection

StoreConnection = SharedConnection | ClusterConnection


def connection_to(url: str, on_connect: OnConnect) -> StoreConnection:
    """Not connected yet.

    Raises:
        StoreUnavailable: the URL cannot be used; the text says why.
    """
    nodes = parse_nodes_url(url)
    if nodes is None:
        return SharedConnection(url, on_connect=on_connect)
    if nodes.kind == "sentinel":
        return SentinelConnection(nodes, on_connect=on_connect)
    return ClusterConnection(nodes, on_connect=on_connect)
