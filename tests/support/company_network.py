"""A company network on loopback: its own certificate authority and an outbound proxy.

company = Authority(tmp_path)
async with FakeProvider(tls=company.server("localhost")) as provider, Proxy() as proxy:
    ... SSL_CERT_FILE=company.file, HTTPS_PROXY=proxy.url, OPENAI_BASE_URL=provider.base_url
"""

import asyncio
import ssl
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

CA_NAME = "company ca"  # in lower case: OpenSSL's hash of a name is then that of its bytes


class Authority:
    """A certificate authority unknown to every system, with its certificate in `file`."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ca.pem"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(CA_NAME, self._key, days=1, names=None)
        self.file.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """The TLS context of a server with a certificate for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign("server", key, days=-1 if expired else 1, names=names)
        file = self._folder / "server.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def hashed_folder(self) -> Path:
        """A folder as OpenSSL's `rehash` makes it, for SSL_CERT_DIR."""
        inside = self._certificate.subject.public_bytes()[2:]  # without the head of the sequence
        name = int.from_bytes(sha1(inside).digest()[:4], "little")
        folder = self._folder / "hashed"
        folder.mkdir()
        (folder / f"{name:08x}.0").write_bytes(self.file.read_bytes())
        return folder

    def _sign(
        self,
        subject: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        days: int,
        names: tuple[str, ...] | None,
    ) -> x509.Certificate:
        """A certificate that expires in `days`; without names, the authority's own."""
        now = datetime.now(UTC)
        usage = {"digital_signature": names is not None, "key_cert_sign": names is None}
        never = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        rest = dict.fromkeys((*never, "crl_sign", "encipher_only", "decipher_only"), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CA_NAME)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage, **rest), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(issuer, critical=False)
        )
        if names is not None:
            also = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(also, critical=False)
        return builder.sign(self._key, SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True, slots=True)
class Asked:
    """The requests to the proxy: `CONNECT host:port`, or an absolute URL in plain HTTP."""

    method: str
    target: str
    headers: dict[str, str]


class Proxy:
    """A proxy on loopback that opens tunnels and forwards plain requests.

    `status` refuses all clients; `user` ("name:password") refuses those that do not send it. `names` are
    the names that only the proxy can resolve, all of them this machine.
    """

    def __init__(
        self,
        *,
        status: int = 200,
        user: str | None = None,
        names: frozenset[str] = frozenset(),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.asked: list[Asked] = []
        self.seen = bytearray()  # every byte that clients sent
        self._status = status
        self._user = user
        self._names = names
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """By the name `localhost`, as in the certificates."""
        return f"localhost:{self._server.sockets[0].getsockname()[1]}"

    @property
    def url(self) -> str:
        """The URL with the credentials."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{self._user + '@' if self._user else ''}{self.address}"

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen += head
            asked = _parse(head)
            self.asked.append(asked)
            status = self._answer_to(asked)
            if status != 200:
                writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
            else:
                await self._hand_on(asked, head, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # one of the two left
        finally:
            await _close(writer)

    def _answer_to(self, asked: Asked) -> int:
        wanted = f"Basic {b64encode((self._user or '').encode()).decode()}"
        if self._user and asked.headers.get("proxy-authorization") != wanted:
            return 407
        return self._status

    async def _hand_on(
        self, asked: Asked, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        is_tunnel = asked.method == "CONNECT"
        url = urlsplit(f"//{asked.target}" if is_tunnel else asked.target)
        host = "127.0.0.1" if url.hostname in self._names else url.hostname
        upstream, upstream_writer = await asyncio.open_connection(host, url.port)
        try:
            if is_tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream_writer.write(head.replace(asked.target.encode(), url.path.encode(), 1))
            await asyncio.gather(self._pump(reader, upstream_writer), _pump(upstream, writer))
        finally:
            await _close(upstream_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _pump(reader, writer, self.seen)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray | None = None
) -> None:
    while data := await reader.read(65536):
        if seen is not None:
            seen += data
        writer.write(data)
        await writer.drain()
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def _parse(head: bytes) -> Asked:
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
    return Asked(method, target, headers)
