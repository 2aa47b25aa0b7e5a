"""Attempts as pods in their owners' namespaces."""
