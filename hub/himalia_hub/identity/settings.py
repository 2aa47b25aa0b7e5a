"""What an administrator says of the identity provider; part of ``c.Himalia``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from traitlets import Bool, Dict, Float, List, Set, Unicode, validate
from traitlets.config import Configurable

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ASYMMETRIC = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)


class OidcSettings(Configurable):
    """Login through an OpenID Connect provider; used where ``oidc_issuer`` is set."""

    oidc_issuer = Unicode(
        "",
        help="""Address of the OpenID Connect provider, as its tokens name it: for Keycloak
        ``https://HOST/realms/REALM``. All other addresses are learned from it. ``http`` is
        refused on any but a loopback address.""",
    ).tag(config=True)

    oidc_name = Unicode(
        "your organisation", help="What the login page calls the provider: *Sign in with …*."
    ).tag(config=True)

    oidc_client_id = Unicode("himalia", help="Name of the hub at the provider.").tag(config=True)

    oidc_client_secret_file = Unicode(
        "",
        help="""File with the hub's secret at the provider; nobody else should be able to read it.
        Empty: a public client, which has none and relies on PKCE.""",
    ).tag(config=True)

    oidc_callback_url = Unicode(
        "",
        help="""Address that the provider sends people back to, exactly as registered there:
        ``https://HUB/hub/oauth_callback``. Empty: worked out from each request; give it where a
        proxy in front of the hub changes host or scheme.""",
    ).tag(config=True)

    oidc_scopes = List(
        Unicode(),
        ["openid", "profile", "email"],
        help="""Scopes to ask for. With ``offline_access`` jobs get tokens for longer than the
        provider keeps a browser's session.""",
    ).tag(config=True)

    oidc_username_claim = Unicode(
        "preferred_username",
        help="""Claim that a new user's name at the hub is made from, once. Who somebody is, is
        decided by issuer and subject alone: a changed claim changes nothing.""",
    ).tag(config=True)

    oidc_groups_claim = Unicode(
        "groups",
        help="""Claim with the list of a person's groups; dots lead into nested claims
        (``realm_access.roles``). Names count exactly as the provider writes them. A claim that is
        missing, or is no list of names, means no groups.""",
    ).tag(config=True)

    oidc_allowed_groups = Set(
        Unicode(),
        help="""Groups whose members may sign in, exactly as the claim has them (Keycloak writes
        ``/research`` with full paths, and ``research`` without). With neither allowed groups nor
        anybody else allowed nobody gets in. JupyterHub's own lists count as well, where they are
        set: ``c.Authenticator.allow_all`` (everybody whom the provider knows), ``allowed_users``,
        ``admin_users`` and ``blocked_users``, with names at the hub. The first who signs in with
        exactly a name that is allowed is that user for good; so where people can change what
        ``oidc_username_claim`` says of them, allow subjects or groups.""",
    ).tag(config=True)

    oidc_admin_groups = Set(
        Unicode(), help="Groups whose members may sign in and are the hub's admins."
    ).tag(config=True)

    oidc_allowed_subjects = Set(
        Unicode(),
        help="""Single people who may sign in without a group, by the provider's id of them (the
        claim ``sub``), which they cannot change.""",
    ).tag(config=True)

    oidc_algorithms = List(
        Unicode(),
        ["RS256", "PS256", "ES256", "EdDSA"],
        help="""Signatures that are accepted on the provider's tokens. Only public-key ones are
        possible.""",
    ).tag(config=True)

    oidc_leeway_seconds = Float(
        10.0, help="How far the provider's clock may be from the hub's."
    ).tag(config=True)

    oidc_ca_file = Unicode(
        "", help="Certificates that vouch for the provider's; empty: those that Python trusts."
    ).tag(config=True)

    oidc_check_seconds = Float(
        4.0,
        help="""How often the provider is asked whether the login of somebody who is active still
        holds, and for their groups. Up to 100 people a second are asked; with more active ones
        each is asked less often. Back-channel logout takes effect at once, whatever this says.""",
    ).tag(config=True)

    oidc_grace_seconds = Float(
        300.0,
        help="""How long logins go on while the provider does not answer; after that people have
        to sign in again.""",
    ).tag(config=True)

    oidc_keep_api_tokens = Bool(
        False,
        help="""Let API tokens that a user made live on when their login ends. Nothing then tells
        the hub that the provider disabled the user, until each token's own expiry.""",
    ).tag(config=True)

    oidc_stop_denied_servers = Bool(
        False,
        help="""Stop the servers of people whom the provider has disabled, or who are in no
        allowed group any more. Otherwise nobody can reach them, and their kernels go on until
        they are idle.""",
    ).tag(config=True)

    token_audiences = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="""Services that ``himalia.token(audience=…)`` may get tokens for, each with the
        scopes to ask for, separated by blanks: ``{"team-data": "team-data"}``. Any other is
        refused.""",
    ).tag(config=True)

    @validate("oidc_issuer")
    def _safe_issuer(self, proposal: dict[str, str]) -> str:
        issuer = proposal["value"]
        parts = urlsplit(issuer)
        if issuer and not (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        ):
            raise ValueError("Himalia.oidc_issuer must begin with https://.")
        return issuer

    @validate("oidc_algorithms")
    def _public_keys(self, proposal: dict[str, list[str]]) -> list[str]:
        unknown = sorted(set(proposal["value"]) - set(ASYMMETRIC))
        if unknown:
            raise ValueError(f"Himalia.oidc_algorithms may not have {', '.join(unknown)}.")
        return proposal["value"]

    @property
    def oidc_client_secret(self) -> str:
        """The hub's secret at the provider (:raises OSError: its file cannot be read)."""
        if not self.oidc_client_secret_file:
            return ""
        return Path(self.oidc_client_secret_file).expanduser().read_text().strip()
