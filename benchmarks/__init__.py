"""What nextbest costs and what it earns, measured: `python -m benchmarks --list`."""
