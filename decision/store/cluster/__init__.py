"""A Redis Cluster: which node has a key, and one shared connection to each node."""
