"""One call in ``jupyterhub_config.py`` that gives a hub's users Himalia."""

from __future__ import annotations

from traitlets.config import Config


def configure(c: Config) -> None:
    """Make the sessions of a JupyterHub open JupyterLab, each user with a control of their own.

    Call it as ``configure(c)`` in ``jupyterhub_config.py``; what was set before stays. Himalia
    must be installed in the environment that the sessions run in. Calling it twice is as once.
    """
    if "default_url" not in c.Spawner:
        c.Spawner.default_url = "/lab"
    # A state folder in the hub's own environment would be handed to every session, so that all
    # users met at one control; an empty name means the default, in each user's own home.
    c.Spawner.environment.update({"HIMALIA_HOME": ""})
