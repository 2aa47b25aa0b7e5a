"""Control: the hub's service that owns everybody's workloads."""
