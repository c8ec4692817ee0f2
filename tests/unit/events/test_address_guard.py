"""Addresses that lead to a machine's credentials are refused, in whatever form they come."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.events.address_guard import refusal

LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")
NESTED = (
    "::ffff:{}",
    "64:ff9b::{}",
    "64:ff9b:1::{}",
    "64:ff9b:1:7:8:9:{}",
    "::ffff:0:{}",
    "::{}",
)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",  # noqa: S104  what is refused
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "2002:a9fe:a9fe::1",
        "::ffff:a9fe:a9fe",
        "metadata.google.internal",
        "2852039166",
        "",
    ],
)
def test_what_gives_credentials_is_refused(address: str) -> None:
    """Clouds' metadata, link-local, multicast, no host's, and what is no address at all."""
    assert refusal(address, ())


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "172.16.0.1", "8.8.8.8", "fd12::1"]
)
def test_receivers_in_private_networks_are_asked(address: str) -> None:
    """Loopback and private networks are where receivers are; so is the world."""
    assert refusal(address, ()) == ""


@given(st.integers(0, 2**16 - 1), st.sampled_from(NESTED))
def test_no_spelling_in_ipv6_leads_to_link_local(low: int, spelling: str) -> None:
    """Mapped, compatible and translated addresses are judged by where they lead."""
    inner = LINK_LOCAL[low]

    assert refusal(str(inner), ())
    assert refusal(spelling.format(inner), ())


def test_an_operator_may_allow_a_network() -> None:
    """What `allow_networks` names is asked, its spellings too, and nothing beside it."""
    allowed = (ipaddress.ip_network("169.254.10.0/24"),)

    assert refusal("169.254.10.7", allowed) == ""
    assert refusal("::ffff:169.254.10.7", allowed) == ""
    assert refusal("169.254.169.254", allowed) != ""
