"""What the hub itself holds of a login: cookies, tokens, groups; given, changed, taken away."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from jupyterhub import orm, roles
from jupyterhub.utils import new_token

from himalia_hub.identity.changes import of_this_hub

_OF_SERVER = "Server at "
"""How JupyterHub notes a server's own token."""


class Door:
    """Lets one hub's users in and out."""

    def __init__(self, app: Any, *, keep_api_tokens: bool) -> None:
        self._app = app
        self._keep_api_tokens = keep_api_tokens
        self._log: logging.Logger = app.log
        self._stopping: set[asyncio.Task[None]] = set()

    def user(self, name: str) -> Any:
        """Return JupyterHub's object of a user, or None."""
        found = orm.User.find(self._app.db, name=name)
        return None if found is None else self._app.users[found]

    def known(self) -> list[str]:
        """Return the names of users of whom an identity is kept."""
        kept = orm.User.encrypted_auth_state.is_not(None)
        return [name for (name,) in self._app.db.query(orm.User.name).filter(kept)]

    def apply(self, user: Any, groups: tuple[str, ...], admin: bool | None) -> None:
        """Give a user the groups that the provider says, and an admin's rights or none."""
        changed = {group.name for group in user.groups} != set(groups)
        user.sync_groups(list(groups))
        if admin is not None and admin != user.admin:
            user.admin = admin
            roles.assign_default_roles(self._app.db, entity=user.orm_user)
            changed = True
        if changed:
            self._app.db.commit()
            of_this_hub().of({user.name})

    def shut(self, user: Any, *, is_denied: bool) -> None:
        """End every cookie, browser's token and page of a user, and their API tokens."""
        row, db = user.orm_user, self._app.db
        row.cookie_id = new_token()
        for token in list(row.api_tokens):
            if self._ends(token, is_denied=is_denied):
                db.delete(token)
        for code in db.query(orm.OAuthCode).filter_by(user_id=row.id):
            db.delete(code)
        db.commit()
        user._auth_refreshed = None  # noqa: SLF001 - so that its next request is judged anew
        of_this_hub().of({user.name})

    def stop_servers(self, user: Any) -> None:
        """Stop a user's servers, in the background."""
        for spawner in list(user.spawners.values()):
            if spawner.active and not spawner.pending:
                task = asyncio.create_task(self._stop(user, spawner.name))
                self._stopping.add(task)
                task.add_done_callback(self._stopping.discard)

    async def _stop(self, user: Any, server_name: str) -> None:
        try:
            await self._app.proxy.delete_user(user, server_name)
            await user.stop(server_name)
        except Exception:  # noqa: BLE001 - whatever a spawner raises
            self._log.exception("A server of %s could not be stopped", user.name)

    def _ends(self, token: Any, *, is_denied: bool) -> bool:
        if token.note and token.note.startswith(_OF_SERVER):
            return False  # it is the server's, not a visitor's; refused while its user is
        is_browsers = token.session_id is not None or token.client_id != "jupyterhub"
        return is_browsers or is_denied or not self._keep_api_tokens
