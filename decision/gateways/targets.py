"""Where gateways may connect to: addresses are checked when they are connected to.

A name is resolved, every address that it has is judged, and the connection goes to one of those
very addresses: there is no second look-up that could answer otherwise (DNS rebinding). Names of
certificates and of the Host header stay those of the config.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, Final, Literal

import httpcore

from decision.core.errors import NextbestError
from decision.gateways.failures import no_connection
from decision.gateways.problems import Problem

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Judgement = Literal["public", "private", "never"]
"""`private` can be allowed; to what is `never`, nothing is sent at all."""

_PRIVATE: Final = tuple(
    ip_network(one)
    for one in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers; some clouds have their metadata there
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: the metadata of clouds
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",  # between networks, for tests
        "::1/128",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
    )
)
_NEVER: Final = tuple(
    ip_network(one)
    for one in (
        "0.0.0.0/8",  # reaches this machine on Linux
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # Teredo and other protocols
        "2001:db8::/32",
        "3fff::/20",
    )
)
_GLOBAL_IPV6: Final = IPv6Network("2000::/3")
_EMBEDDED: Final = (
    # (network, bits after the IPv4 address)
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)


class TargetRefused(NextbestError):
    """A target that nothing may be sent to; the text says why and how to allow it."""


def judge(address: Address) -> Judgement:
    """Whether an address is one of the public Internet.

    >>> [judge(ip_address(one)) for one in ("8.8.8.8", "10.0.0.1", "::ffff:10.0.0.1", "224.0.0.1")]
    ['public', 'private', 'private', 'never']
    """
    if any(address in network for network in _PRIVATE):
        return "private"
    if any(address in network for network in _NEVER):
        return "never"
    if isinstance(address, IPv6Address):
        if (inner := embedded(address)) is not None:
            return judge(inner)
        return "public" if address in _GLOBAL_IPV6 else "never"
    return "public"


def embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets for an IPv6 address go to; None where it is its own."""
    for network, after in _EMBEDDED:
        if address in network:
            return IPv4Address(int(address) >> after & 0xFFFF_FFFF)
    return None


class Targets:
    """Resolves and checks. `allowed` are private networks: all of them, or those named.

    >>> targets = Targets(["127.0.0.1"])
    >>> targets.allows(ip_address("127.0.0.1")), targets.allows(ip_address("127.0.0.9"))
    (True, False)
    """

    def __init__(self, allowed: bool | Iterable[str] = False) -> None:
        self._any_private = allowed is True
        self._networks: tuple[Network, ...] = ()
        if not isinstance(allowed, bool):
            self._networks = tuple(ip_network(one) for one in allowed)

    def allows(self, address: Address) -> bool:
        """Whether a connection to an address is allowed."""
        judgement = judge(address)
        if judgement == "private" and not self._any_private:
            inner = embedded(address) if isinstance(address, IPv6Address) else None
            return any(address in one or (inner and inner in one) for one in self._networks)
        return judgement != "never"

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a host, where each of them is allowed.

        Raises:
            OSError: it cannot be resolved.
            TargetRefused: one of its addresses is not allowed.
        """
        loop = asyncio.get_running_loop()
        # The system reads every spelling of an address: 0x7f.1 and 2130706433 are 127.0.0.1.
        try:
            rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise OSError(f"{host} cannot be resolved") from None
        found = list(dict.fromkeys(ip_address(str(row[4][0]).partition("%")[0]) for row in rows))
        for address in found:
            if not self.allows(address):
                raise TargetRefused(self._refusal(host, address))
        return found

    def _refusal(self, host: str, address: Address) -> str:
        where = f"{host} is at {address}" if host != str(address) else host
        if judge(address) == "never":
            return f"{where}, which is no address that one can send to"
        fix = "allow_private: true" if not self._networks else "its network in allow_private"
        return f"{where}, a private address; write {fix} if that is meant"

    async def connect(self, host: str, port: int) -> socket.socket:
        """A connection to a host, by an address that is allowed.

        Raises:
            OSError: it cannot be reached.
            TargetRefused: as `resolve`.
        """
        loop = asyncio.get_running_loop()
        failed: OSError = OSError(f"{host} has no address")
        for address in await self.resolve(host, port):
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.setblocking(False)
            try:
                await loop.sock_connect(connection, (str(address), port))
            except OSError as error:
                connection.close()
                failed = error
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise OSError(no_connection(host, port, failed))


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """httpcore's network with checked targets; TLS is still for the host's name."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection by an address that is allowed."""
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        try:
            addresses = await self._targets.resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except httpcore.ConnectTimeout as error:
                failed = error
            except httpcore.ConnectError as error:
                failed = httpcore.ConnectError(no_connection(host, port, error))
        raise failed

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await self._inner.sleep(seconds)


def problems_of_networks(allowed: bool | list[str]) -> Iterator[Problem]:
    """What is wrong with `allow_private`."""
    for place, one in enumerate([] if isinstance(allowed, bool) else allowed):
        if not _is_network(one):
            message = "it must be true, or a list of networks such as 10.1.0.0/16"
            yield f"allow_private[{place}]", message, ""


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def problem_of_host(host: str, allowed: bool | list[str]) -> tuple[str, str] | None:
    """What is wrong with the host of a gateway: message and hint, or None.

    Names are resolved later, each time. What is an address without asking anybody is judged now:
    one that is written out, in any spelling, and `localhost`.

    >>> problem_of_host("0x7f.1", False)
    ('it is a private address', 'add allow_private: true if that is meant')
    """
    address = _address_of(host)
    if address is None:
        return None
    if judge(address) == "never":
        return "one cannot send to this address", "write the address of the provider"
    known = isinstance(allowed, bool) or all(map(_is_network, allowed))
    if known and not Targets(allowed).allows(address):
        fix = "its network to allow_private" if allowed else "allow_private: true"
        return "it is a private address", f"add {fix} if that is meant"
    return None


def _address_of(host: str) -> Address | None:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(name.partition("%")[0])
    except ValueError:
        pass
    try:
        # As the system reads it: 0x7f.1 and 2130706433 are 127.0.0.1. It allows words after it.
        return None if " " in name else IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):
        return None
