"""Names below ``localhost`` as browsers take them: this machine; and a certificate for them."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typing_extensions import override


class LocalHosts(httpx.AsyncHTTPTransport):
    """Asks this machine for ``localhost`` and what is below it, whatever its resolver says."""

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        if name != "localhost" and not name.endswith(".localhost"):
            return await super().handle_async_request(request)
        # A copy: cookies go by the address of the request that was made.
        sent = httpx.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1"),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": name},
        )
        return await super().handle_async_request(sent)


class Certificate:
    """A certificate for a name and all that is below it, which nobody but the tests trusts."""

    def __init__(self, folder: Path, host: str) -> None:
        self.key = folder / "tls-key.pem"
        self.file = folder / "tls-certificate.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName(host), x509.DNSName(f"*.{host}")]
        made = (
            x509.CertificateBuilder(issuer_name=name, subject_name=name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.key.touch(0o600)
        self.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def trusted(self) -> ssl.SSLContext:
        """Return what a client goes by that trusts this certificate, and no other."""
        return ssl.create_default_context(cafile=str(self.file))
