"""A decision for everybody in an audience, the highest expected value first, each exactly once."""
