"""Sends what decisions at placements with `delivery: gateway` have left in the outbox."""
