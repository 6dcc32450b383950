"""The store in this process, a file per capability; assembled in `memory_store`."""
