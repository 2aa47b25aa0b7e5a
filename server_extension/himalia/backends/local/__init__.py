"""Attempts as process groups on this machine."""
