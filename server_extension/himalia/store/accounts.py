"""Which user of the hub an account at a provider is: always the one it was first."""

from __future__ import annotations

import unicodedata
from itertools import chain, count

from sqlalchemy import Connection, insert, select

from himalia.store.database import lock
from himalia.store.team_tables import accounts


def account(connection: Connection, issuer: str, subject: str, wanted: str) -> str:
    """See :meth:`himalia.store.team.PeopleStore.account`."""
    lock(connection, "accounts")
    name = known(connection, issuer, subject)
    if name is not None:
        return name
    taken = _taken(connection, wanted)
    names = chain((wanted,), (f"{wanted}-{number}" for number in count(2)))
    name = next(one for one in names if looks(one) not in taken)
    connection.execute(
        insert(accounts),
        {"issuer": issuer, "subject": subject, "name": name, "looks": looks(name)},
    )
    return name


def known(connection: Connection, issuer: str, subject: str) -> str | None:
    """See :meth:`himalia.store.team.PeopleStore.known_account`."""
    name = connection.scalar(
        select(accounts.c.name).where(accounts.c.issuer == issuer, accounts.c.subject == subject)
    )
    return None if name is None else str(name)


def looks(name: str) -> str:
    """Return what names have in common that a person, or a system, may take for each other."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    # Marks that nobody sees, such as zero-width joiners.
    return "".join(one for one in plain if unicodedata.category(one) not in {"Cf", "Cc"})


def _taken(connection: Connection, wanted: str) -> frozenset[str]:
    """Return the looks of this beginning that an account has."""
    begin = looks(wanted)
    return frozenset(
        connection.scalars(
            select(accounts.c.looks).where(accounts.c.looks.startswith(begin, autoescape=True))
        )
    )
