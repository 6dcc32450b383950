"""What-if: requests decided by a new and an old policy side by side, and what differs."""
