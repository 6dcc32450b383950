"""The Redis URL: its parts, as redis-py reads them. No message quotes it: it has a password."""

from __future__ import annotations

import re
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any, Final

from decision.core.errors import StoreUnavailable

_SCHEMES: Final = ("redis", "rediss", "unix")
_ENCODE: Final = (
    "write @ / ? # % : [ ] in a user, a password or an option as %40 %2F %3F %23 %25 %3A %5B %5D"
)
_BAD_OPTION: Final = re.compile(r"Invalid value for '\w+' in connection URL")


def parse_url(url: str) -> tuple[dict[str, Any], SSLContext | None]:
    """The options of a connection, and what TLS needs where the URL asks for it.

    Raises:
        StoreUnavailable: it cannot be used; the text says why, and quotes nothing of it.
    """
    from redis.asyncio.connection import SSLConnection  # slow to import
    from redis.asyncio.connection import parse_url as parse
    from redis.exceptions import RedisError

    problem = _problem(url)
    if problem is None:
        try:
            options: dict[str, Any] = dict(parse(url))
            if options.get("connection_class") is not SSLConnection:
                return options, None
            given = {name: value for name, value in options.items() if name.startswith("ssl_")}
            return options, SSLConnection(**given).ssl_context.get()
        except OSError as error:
            problem = f"a file that it names for TLS cannot be used: {error.strerror or error}"
        except RedisError as error:
            problem = str(error)
        except TypeError:
            problem = "it has an option that redis-py does not know"
        except ValueError as error:
            # The text of others would quote a part of the URL, such as a password for a port.
            known = _BAD_OPTION.match(str(error))
            problem = known[0] if known else f"its host or port cannot be read; {_ENCODE}"
    raise StoreUnavailable(
        f"NEXTBEST_REDIS_URL: {problem}; write it as redis://user:password@host:6379/0, "
        "rediss://… for TLS, or unix:///path/of/its.sock"
    ) from None


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
        return "it does not begin with redis://, rediss:// or unix://"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme.lower() == "unix":
        login = bool(authority) and not authority.endswith("@")
        return f"what follows unix:// is not a path; {_ENCODE}" if login else None
    if "@" in rest[len(authority) :]:
        return f"it has an @ behind its host; {_ENCODE}"
    return None
