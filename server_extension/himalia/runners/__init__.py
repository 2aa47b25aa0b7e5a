"""What runs inside a workload; each works by hand in a shell, too."""
