"""How Kafka is reached, and as whom: from options, and logins from the environment alone."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import msgspec

from decision.server.settings import SettingsError

Security = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Sasl = Literal["plain", "scram-sha-256", "scram-sha-512"]
Start = Literal["earliest", "latest"]
SECURITY: Final = get_args(Security)
SASL: Final = get_args(Sasl)
STARTS: Final = get_args(Start)

USER: Final = "NEXTBEST_KAFKA_USER"
PASSWORD: Final = "NEXTBEST_KAFKA_PASSWORD"


class ConsumerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is read from which brokers, as which group. `login` is user and password.

    `start` is where a group begins that has read nothing yet.
    """

    brokers: tuple[str, ...]
    topics: tuple[str, ...]
    group: str
    start: Start = "earliest"
    security: Security = "plaintext"
    sasl: Sasl = "plain"
    ca_file: str | None = None
    login: tuple[str, str] | None = None

    def connection(self) -> dict[str, Any]:
        """What aiokafka's clients are made with.

        Raises:
            SettingsError: the file of certificates cannot be used.
        """
        found: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "client_id": "nextbest",
            "security_protocol": self.security.upper(),
        }
        if self.security.endswith("ssl"):
            try:
                found["ssl_context"] = ssl.create_default_context(cafile=self.ca_file)
            except (OSError, ssl.SSLError) as error:
                reason = getattr(error, "strerror", None) or error
                raise SettingsError(f"--ca-file {self.ca_file}: {reason}") from None
        if self.login is not None:
            user, password = self.login
            found |= {
                "sasl_mechanism": self.sasl.upper(),
                "sasl_plain_username": user,
                "sasl_plain_password": password,
            }
        return found


def consumer_settings(
    brokers: str, topics: str, environ: Mapping[str, str] = os.environ, **given: Any
) -> ConsumerSettings:
    """The settings that options give; where a login is needed, it is in the environment.

    Raises:
        SettingsError: a name or a part of the login is missing, or an address is none.
    """
    login = None
    if given.get("security", "plaintext").startswith("sasl"):
        missing = [name for name in (USER, PASSWORD) if not environ.get(name)]
        if missing:
            raise SettingsError(
                f"{' and '.join(missing)} must be set in the environment: --security "
                f"{given['security']} needs a login"
            )
        login = (environ[USER], environ[PASSWORD])
    addresses = _parts(brokers)
    for address in addresses:
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
            raise SettingsError(f'--brokers: "{address}" is no host:port')
    names = _parts(topics)
    if not addresses or not names:
        raise SettingsError("name a broker and a topic: --brokers HOST:PORT --topics NAME")
    return ConsumerSettings(brokers=addresses, topics=names, login=login, **given)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
