"""How many sequences each version of a worker has under way: asked, for nothing reports it."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.local_http import LocalHttp
from serving.rollout.ports import HostedVersion
from serving.worker.control import WorkerReport


async def counted_sequences(
    http: LocalHttp, hosted: Mapping[VersionKey, HostedVersion]
) -> dict[VersionKey, HostedVersion]:
    """Return the versions of a worker whose number of sequences is another than was known.

    Raises:
        NotReadyError: The worker does not answer, or says something else.
    """
    if not any(said.served and said.served.has_sequences for said in hosted.values()):
        return {}
    reply = await http.ask("GET", "/worker/state")
    try:
        report = msgspec.json.decode(reply.body, type=WorkerReport)
    except msgspec.DecodeError as error:
        raise NotReadyError(f"GET /worker/state: status {reply.status}: {error}") from error
    counts = {VersionKey(line.model, line.version): line.sequence_count for line in report.versions}
    return {
        key: replace(said, sequence_count=counts[key])
        for key, said in hosted.items()
        if counts.get(key, said.sequence_count) != said.sequence_count
    }
