"""How the store is: looked at once a second, noted in one place, shown by health and metrics."""
