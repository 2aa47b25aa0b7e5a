"""Agents: what is done for an owner under the owner's own account, in a process of its own."""
