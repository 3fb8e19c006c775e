"""A real directory: Debian's slapd on loopback ports, with its own settings and certificate."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SLAPD = shutil.which("slapd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
READY = find_spec("ldap") is not None and SLAPD is not None
DEADLINE = 60
"""Seconds after which a test gives up on the directory."""

# Where the machine lacks them, everything else is tested; but CI installs them, and must not skip.
collect_ignore_glob = [] if READY or "CI" in os.environ else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if collect_ignore_glob:
        needs = "slapd, and python-ldap, whose build needs libldap-dev and libsasl2-dev"
        terminalreporter.write_line(f"picoauth-ldap was not tested, which needs {needs}.")


SETTINGS = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {folder}/certificate.pem
TLSCertificateKeyFile {folder}/key.pem
# The trap that many directories are in: without a password, anybody's name is let in, as nobody.
allow bind_anon_dn
database mdb
suffix dc=example,dc=org
directory {folder}/data
rootdn cn=admin,dc=example,dc=org
rootpw secret
"""
PERSON = """\
dn: {dn}
objectClass: inetOrgPerson
uid: {uid}
cn: {uid}
sn: {uid}
userPassword: {password}
"""
ENTRIES = [
    "dn: dc=example,dc=org\nobjectClass: domain\ndc: example\n",
    PERSON.format(dn="uid=ann,dc=example,dc=org", uid="ann", password="correct horse"),
    PERSON.format(dn="uid=bob,dc=example,dc=org", uid="bob", password="battery staple"),
    "dn: ou=guests,dc=example,dc=org\nobjectClass: organizationalUnit\nou: guests\n",
    PERSON.format(dn="uid=eve,ou=guests,dc=example,dc=org", uid="eve", password="let me in"),
]


class Slapd:
    """The server, which a test may stop and start again on its ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plain, self.tls = free_port(), free_port()
        (folder / "data").mkdir()
        (folder / "slapd.conf").write_text(SETTINGS.format(folder=folder))
        (folder / "entries.ldif").write_text("\n".join(ENTRIES))
        certify(folder)
        self.run("-T", "add", "-l", str(folder / "entries.ldif"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def authority(self) -> Path:
        return self.folder / "certificate.pem"

    def command(self, *arguments: str) -> list[str]:
        return [str(SLAPD), *arguments, "-f", str(self.folder / "slapd.conf")]

    def run(self, *arguments: str) -> None:
        subprocess.run(self.command(*arguments), check=True, capture_output=True)

    def start(self) -> None:
        """Every address of loopback, so that one of them may stand for another host."""
        where = f"ldap://0.0.0.0:{self.plain}/ ldaps://127.0.0.1:{self.tls}/"
        self.process = subprocess.Popen(self.command("-h", where, "-d", "0"))
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.tls)).close()
                return
        raise RuntimeError("slapd does not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(DEADLINE)
            self.process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def certify(folder: Path) -> None:
    """A certificate that vouches for itself, for two addresses of loopback."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "directory")])
    addresses = [ipaddress.ip_address(text) for text in ("127.0.0.1", "127.0.0.2")]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(map(x509.IPAddress, addresses)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)


@pytest.fixture(scope="session")
def running() -> Iterator[Slapd]:
    with TemporaryDirectory(prefix="ldap", dir="/tmp") as folder:
        slapd = Slapd(Path(folder))
        try:
            yield slapd
        finally:
            slapd.stop()


@pytest.fixture
def slapd(running: Slapd) -> Slapd:
    """The directory, running; Ann and Bob are in it, and Eve is a guest."""
    if running.process is None:
        running.start()
    return running
