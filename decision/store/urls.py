"""The Redis URL: its parts, as redis-py reads them. No message quotes it: it has a password."""

from __future__ import annotations

import re
from difflib import get_close_matches
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from decision.core.errors import StoreUnavailable

_SCHEMES: Final = ("redis", "rediss", "unix")

FORMS: Final = (
    "write it as redis://user:password@host:6379/0, unix:///path/of/its.sock, "
    "redis+cluster://host:6379,host:6379 or redis+sentinel://host:26379,host:26379/name; "
    "rediss… for TLS"
)
ENCODE: Final = (
    "write @ / ? # % : [ ] in a user, a password or an option as %40 %2F %3F %23 %25 %3A %5B %5D"
)
_TLS_OPTIONS: Final = (
    *("ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile"),
    *("ssl_check_hostname", "ssl_ciphers", "ssl_exclude_verify_flags", "ssl_include_verify_flags"),
    *("ssl_min_version", "ssl_password"),
)
_OPTIONS: Final = (
    *("client_name", "db", "health_check_interval", "max_connections", "password", "protocol"),
    *("retry_on_timeout", "socket_connect_timeout", "socket_keepalive", "socket_read_size"),
    *("socket_timeout", "timeout", "username", *_TLS_OPTIONS),
)
"""What redis-py takes from a URL; here db, username, password and those of TLS have an effect."""

_BAD_OPTION: Final = re.compile(r"Invalid value for '\w+' in connection URL")


class ServerAddress(NamedTuple):
    """Where a server is and how to log in: redis-py's options, and what TLS needs, if it does."""

    options: dict[str, Any]
    ssl: SSLContext | None

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        return self.options.get("host", "localhost"), self.options.get("port", 6379)

    @property
    def where(self) -> str:
        """The address as messages name it: no user, no password."""
        host, port = self.place
        host = f"[{host}]" if ":" in host else host
        return str(self.options.get("path", f"{host}:{port}"))

    def at(self, host: str, port: int) -> ServerAddress:
        """Another server with the same login."""
        return ServerAddress({**self.options, "host": host, "port": port}, self.ssl)


def parse_url(url: str) -> ServerAddress:
    """The address of one server.

    Raises:
        StoreUnavailable: it cannot be used; the text says why, and quotes nothing of it.
    """
    from redis.asyncio.connection import SSLConnection  # slow to import
    from redis.asyncio.connection import parse_url as parse
    from redis.exceptions import RedisError

    problem = _problem(url) or _option_problem(url)
    if problem is None:
        try:
            options: dict[str, Any] = dict(parse(url))
            if options.get("connection_class") is not SSLConnection:
                return ServerAddress(options, None)
            given = {name: value for name, value in options.items() if name.startswith("ssl_")}
            return ServerAddress(options, SSLConnection(**given).ssl_context.get())
        except OSError as error:
            problem = f"a file that it names for TLS cannot be used: {error.strerror or error}"
        except RedisError as error:
            problem = str(error)
        except TypeError:
            problem = "it has an option that redis-py does not know"
        except ValueError as error:
            # The text of others would quote a part of the URL, such as a password for a port.
            known = _BAD_OPTION.match(str(error))
            problem = known[0] if known else f"its host or port cannot be read; {ENCODE}"
    raise bad_url(problem) from None


def bad_url(problem: str) -> StoreUnavailable:
    """What is wrong with the URL, and how to write it."""
    return StoreUnavailable(f"NEXTBEST_REDIS_URL: {problem}; {FORMS}")


def tls_problem(error: SSLError) -> tuple[str, str]:
    """Why a TLS connection did not come about, and what to do."""
    if isinstance(error, SSLCertVerificationError):
        return (
            f"its TLS certificate is not accepted: {error.verify_message or error}",
            "name the file of its authority with ?ssl_ca_certs=FILE in NEXTBEST_REDIS_URL, and "
            "the host as the certificate does",
        )
    if "CERTIFICATE" in (error.reason or ""):
        return (
            f"it does not accept our TLS certificate: {error.reason}",
            "name ours with ?ssl_certfile=FILE&ssl_keyfile=FILE in NEXTBEST_REDIS_URL",
        )
    return (
        f"TLS does not work with it: {error.reason or error}",
        "point NEXTBEST_REDIS_URL at its TLS port, or write redis:// where it has no TLS",
    )


def _problem(url: str) -> str | None:
    """What redis-py would read otherwise than it is meant: a part of a password as the host."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        return (
            "it does not begin with redis://, rediss://, unix://, redis+cluster:// or "
            "redis+sentinel://"
        )
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme.lower() == "unix":
        login = bool(authority) and not authority.endswith("@")
        return f"what follows unix:// is not a path; {ENCODE}" if login else None
    if "@" in rest[len(authority) :]:
        return f"it has an @ behind its host; {ENCODE}"
    path = re.split(r"[?#]", rest[len(authority) :], maxsplit=1)[0]
    if re.fullmatch(r"(/[0-9]*)?", path) is None:
        return "what follows its host is not the number of a database, such as /0"
    return None


def _option_problem(url: str) -> str | None:
    """What is wrong with its options; one that is not known would be left out in silence.

    Of a name only the nearest that is known is shown: a part of a password may be taken for one.
    """
    query = url.partition("?")[2].partition("#")[0]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            near = get_close_matches(name, _OPTIONS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_OPTIONS)}"
            return f"it has an option that is not known; {hint}"
        if name in _TLS_OPTIONS and not url.lower().startswith("rediss://"):
            return f"{name} is for TLS, and only rediss:// has it"
        if name == "db" and not value.isdecimal():
            return "Invalid value for 'db' in connection URL: it is the number of a database"
    return None
