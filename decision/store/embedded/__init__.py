"""The Redis that nextbest starts itself: one server per folder, watched, its data repaired."""
