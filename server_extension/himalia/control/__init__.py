"""The background process that owns the workloads."""
