"""Migrations of the store, numbered and forward only."""
