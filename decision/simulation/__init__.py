"""What would happen: policies side by side, decisions offline, the simulated shop of the demo."""
