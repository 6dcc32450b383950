"""A campaign of faults: real servers, a real Redis, open load, and an oracle that looks from outside.

    python -m benchmarks.campaign --minutes 10 --seed 7

Two servers and one Redis (with a second one beside it, and a proxy in between) are killed, paused,
filled, demoted and locked in random order, while clients in processes of their own go on asking.
Then `oracle` compares what clients were answered with what is stored. It uses nothing else.
"""
