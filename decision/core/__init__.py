"""The pure core: typed data in, typed data out; no I/O, no clock, no global randomness."""
