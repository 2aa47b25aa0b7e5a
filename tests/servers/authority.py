"""An authority of the tests' own, which gives certificates as Secrets of Kubernetes have them."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAYS = 2


class Authority:
    """Signs; nobody but the tests trusts it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("the tests' authority")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        made = _builder(self._name, self._name, self._key.public_key()).add_extension(
            constraints, critical=True
        )
        self.certificate = _pem(made.sign(self._key, hashes.SHA256()))

    def give(self, folder: Path, *names: str) -> Path:
        """Write ``ca.crt``, ``tls.crt`` and ``tls.key`` for `names` or addresses into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        about = x509.SubjectAlternativeName([_general(name) for name in names])
        made = _builder(_named(names[0]), self._name, key.public_key()).add_extension(
            about, critical=False
        )
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / "ca.crt").write_bytes(self.certificate)
        (folder / "tls.crt").write_bytes(_pem(made.sign(self._key, hashes.SHA256())))
        (folder / "tls.key").touch(0o600)
        (folder / "tls.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
        return folder


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder(issuer_name=issuer, subject_name=subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=_DAYS))
    )


def _pem(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.PEM)
