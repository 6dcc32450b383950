"""What a running server needs around the engine: settings, stores, supply, workers, health."""
