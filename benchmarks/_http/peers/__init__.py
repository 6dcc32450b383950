"""Others that do what nextbest does, or a part of it; each runs in a process with its own packages."""
