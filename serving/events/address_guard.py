"""Which addresses events may be sent to. Pure.

Whoever may name a receiver, or its DNS, could make the controller ask services that trust this
machine: those that give a cloud's machines their credentials listen on link-local addresses. Such
addresses are refused, whatever name leads to them, unless the receiver's operator allows them.
Private networks and loopback are where receivers usually are: they are taken.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.100.100.200/32",  # Alibaba Cloud
            "168.63.129.16/32",  # Azure's platform
            "192.0.0.192/32",  # Oracle Cloud
            "fd00:ec2::/32",  # AWS
            "fd20:ce::254/128",  # Google Cloud
        ),
    )
)
TRANSLATED: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "64:ff9b::/96",  # NAT64
            "64:ff9b:1::/48",  # NAT64 within a network
            "::ffff:0:0:0/96",  # stateless translation
        ),
    )
)
"""They lead to the IPv4 address in their last four bytes."""
IPV4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")


def refusal(address: str, allowed: Sequence[Network]) -> str:
    """Say why an address may not be asked; empty if it may.

    Args:
        address: What is about to be connected to: no name.
        allowed: What the operator allows all the same.
    """
    try:
        given = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"'{address}' is no address"
    if _is_in(given, allowed):
        return ""
    for one in (given, *_inner(given)):
        what = "" if _is_in(one, allowed) else _what(one)
        if what:
            return (
                f"{address} is {what}: nothing is sent there unless allow_networks of the receiver "
                "names it"
            )
    return ""


def _what(address: Address) -> str:
    if _is_in(address, METADATA):
        return "where a cloud gives its machines their credentials"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified or address in ipaddress.ip_network("0.0.0.0/8"):
        return "no host's address"
    return "reserved" if address.is_reserved and address.version == 4 else ""  # noqa: PLR2004  IPv4


def _inner(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """Give the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield address.teredo[1]
    is_compatible = address in IPV4_COMPATIBLE and int(address) > 1
    if _is_in(address, TRANSLATED) or is_compatible:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
