"""How the hub has its proxy lead to it, where parts of the hub speak by TLS alone."""

from __future__ import annotations

from typing import Any

from jupyterhub.proxy import ConfigurableHTTPProxy
from tornado.httpserver import HTTPServer
from typing_extensions import override

from himalia_hub.kubernetes.inner_tls import inner_tls
from himalia_hub.kubernetes.settings import Kubernetes


class InnerTlsProxy(ConfigurableHTTPProxy):  # type: ignore[misc] # untyped
    """Leads to a second port of the hub's, which lets in nobody without a certificate.

    JupyterHub itself listens at one port; that is left to users' pods, who have none.
    """

    _listening: HTTPServer | None = None

    @override
    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        leads_to = self._inner() if data.get("hub") else target
        await super().add_route(routespec, leads_to, data)

    @override
    async def get_all_routes(self) -> dict[str, Any]:
        self._listen()
        routes: dict[str, Any] = await super().get_all_routes()
        for route in routes.values():
            # As JupyterHub knows itself, so that it finds nothing to mend.
            if route["target"] == self._inner():
                route["target"] = self.hub.host
        return routes

    def _inner(self) -> str:
        return Kubernetes(parent=self.app).hub_parts_url

    def _listen(self) -> None:
        """Listen, once, just before the hub does: it asks for its routes at that moment."""
        settings = Kubernetes(parent=self.app)
        tls = inner_tls(settings)
        if self._listening is not None or tls is None:
            return
        self._listening = HTTPServer(
            self.app.tornado_application,
            ssl_options=tls.server(),
            xheaders=True,
            trusted_downstream=self.app.trusted_downstream_ips,
        )
        self._listening.listen(settings.hub_tls_port)
