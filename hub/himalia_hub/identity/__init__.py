"""Who people are: login through OpenID Connect, its end, and what their groups allow.

The names in here import JupyterHub, so that a configuration names them and does not load them.
"""
