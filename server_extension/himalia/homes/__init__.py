"""Homes: how full they are, what fills them, and a way in when nothing can be written to one."""
