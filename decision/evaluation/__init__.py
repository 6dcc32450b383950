"""Off-policy evaluation: what a policy would have earned, estimated from another policy's log."""
