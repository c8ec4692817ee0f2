"""Every single byte of a signed bundle, one after the other."""

from pathlib import Path

import pytest

from runtimes.errors import BasculeError
from serving.registry.bundles.bundle import read_bundle
from serving.registry.bundles.keys import SigningKey
from serving.registry.bundles.signing import sign_bundle
from tests.fakes.bundles import make_bundle


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80], ids=["lowest", "case", "highest"])
def test_each_byte_counts(tmp_path: Path, mask: int) -> None:
    """Whichever byte of whichever file has one bit turned, the bundle is refused."""
    folder = make_bundle(tmp_path).folder
    sign_bundle(folder, SigningKey.new())
    accepted = []
    for file in sorted(folder.iterdir()):
        file.chmod(0o644)
        content = file.read_bytes()
        for position in range(len(content)):
            turned = bytearray(content)
            turned[position] ^= mask
            file.write_bytes(turned)
            try:
                read_bundle(folder)
                accepted.append((file.name, position))
            except BasculeError:
                continue
        file.write_bytes(content)

    assert accepted == []
    assert read_bundle(folder).signers
