"""The network side: address, workers, proxies, TLS, origins and documentation."""

from ipaddress import ip_address
from typing import Self

from pydantic import Field, model_validator

from chatbot.entrypoints.settings.lists import Hosts, Networks, Origins
from chatbot.entrypoints.settings.subject import File, Subject


class HttpSettings(Subject):
    """HOST, PORT, WORKERS and what else concerns connections."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    keep_alive_s: int = Field(default=75, ge=1, le=3600)
    trusted_proxies: Networks = ()
    allowed_hosts: Hosts = ()
    cors_allow_origins: Origins = ()
    root_path: str = ""
    tls_cert_file: File | None = None
    tls_key_file: File | None = None
    docs_enabled: bool = True

    @model_validator(mode="after")
    def _have_certificate_and_key(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS_CERT_FILE: must be set together with TLS_KEY_FILE")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
