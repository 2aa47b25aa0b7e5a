"""What a workload can be."""
