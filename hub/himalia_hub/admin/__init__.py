"""The admin page: served by control, in the hub's own look."""
