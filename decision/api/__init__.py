"""The HTTP API: routes, errors, keys, limits, metrics and the server that runs them."""
