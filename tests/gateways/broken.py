"""A package that fails while it is imported."""

raise RuntimeError("needs something that is not there")
