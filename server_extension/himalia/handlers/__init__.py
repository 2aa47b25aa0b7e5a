"""REST, as Jupyter handlers."""
