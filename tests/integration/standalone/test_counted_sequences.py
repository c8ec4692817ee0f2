"""How many sequences a worker has: what it cannot say must not end who looks after it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.local_http import LocalHttp
from serving.registry.version import VersionState
from serving.rollout.ports import HostedVersion
from serving.rollout.sequence_counts import counted_sequences
from tests.fakes.cluster import served_version

pytestmark = pytest.mark.anyio

HOSTED = {
    VersionKey("a", 1): HostedVersion(
        state=VersionState.READY, served=replace(served_version(), has_sequences=True)
    )
}
FAILURE = b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\nconnection: close\r\n\r\nOops"


async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a question as a worker whose own code has failed."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(FAILURE)
    writer.close()
    await writer.wait_closed()


async def test_a_worker_that_fails_to_say_is_asked_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Its answer is no report: an error that its supervisor knows, and outlives."""
    path = str(Path(tmp_path_factory.mktemp("h")) / "w.ctl")
    async with await asyncio.start_unix_server(fail, path), LocalHttp(path) as http:
        with pytest.raises(NotReadyError, match="status 500"):
            await counted_sequences(http, HOSTED)
