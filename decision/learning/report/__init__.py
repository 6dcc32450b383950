"""The report of a training: what the model learned, how good it is, what has changed."""
