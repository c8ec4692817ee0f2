"""Bundles in a server that speaks S3: moto's, by s3fs."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import fsspec
import pytest

from serving.registry.checker import check
from serving.registry.collection import Rules, collect
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle

SERVER = (sys.executable, "-m", "moto.server")
LIMIT_S = 90


def is_listening(port: int) -> bool:
    """Whether something answers on a port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S):
        return True
    return False


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket of a running server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with subprocess.Popen(
        [*SERVER, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            end = monotonic() + LIMIT_S
            while not is_listening(port):
                assert monotonic() < end, "never: a server"
            fsspec.filesystem("s3", skip_instance_cache=True).mkdir("models")
            yield "s3://models/prod"
        finally:
            server.terminate()


def test_a_version_travels_through_s3(bucket: str, tmp_path: Path) -> None:
    """Pushed by one home, served by another from its verified copy, and collected."""
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    with (
        Registry(tmp_path / "one", url=url, blobs=bucket) as one,
        Registry(tmp_path / "two", url=url, blobs=bucket) as two,
    ):
        one.push(make_bundle(tmp_path / "b").folder, "ann")
        (spec,) = two.picture().wanted
        found = Path(spec.file).read_bytes(), check(one), check(two)
        one.unwant("m", 1, "ann")
        collect(one, Rules(takes_archived=True, keep_days=0), "ann")

        assert found == (b"weights", (), ())
        assert not one.blobs.has(spec.digest)
        assert check(one) == ()
