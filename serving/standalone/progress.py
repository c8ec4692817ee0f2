"""What `bascule serve` tells the terminal: progress, then what is served and where."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from serving.edge.control import Snapshot, VersionRecord
from serving.registry.version import VersionState
from serving.rollout.loop import ControlLoop
from serving.rollout.ports import Cluster
from serving.settings import Settings

Tell = Callable[[str], None]

LOOK_S: Final = 0.5
TABLE_ROWS: Final = 20
REASON_CHARS: Final = 300


async def tell_progress(
    loop: ControlLoop, cluster: Cluster, settings: Settings, tell: Tell
) -> None:
    """Say how far loading is until nothing is on its way, then what is served and where."""
    shown = ""
    while not loop.snapshot.settled:
        text = _progress(loop, cluster)
        if text and text != shown:
            tell(text)
        shown = text
        await asyncio.sleep(LOOK_S)
    for line in summary(loop.snapshot, settings):
        tell(line)


def summary(snapshot: Snapshot, settings: Settings) -> list[str]:
    """Write the table of versions, the failures and the addresses."""
    records = [record for record in snapshot.versions.values() if record.reason != "unloaded"]
    ready = [record for record in records if record.state is VersionState.READY]
    failed = [record for record in records if record.state is VersionState.UNAVAILABLE]
    lines = _table(ready, snapshot)
    lines += [f"failed   {_name(r)}: {r.reason[:REASON_CHARS]}" for r in failed[:TABLE_ROWS]]
    if len(failed) > TABLE_ROWS:
        lines.append(f"failed   and {len(failed) - TABLE_ROWS} more: see `bascule status`")
    failures = f", {len(failed)} failed" if failed else ""
    lines.append(f"ready    {len(ready)} of {len(ready) + len(failed)} versions{failures}")
    if not ready and not failed:
        lines.append(f"         {_nothing(settings)}")
    lines.append(f"HTTP     http://{settings.http}")
    lines.append(f"gRPC     {settings.grpc}")
    lines.append(f"metrics  http://{settings.metrics}/metrics")
    return lines


def _nothing(settings: Settings) -> str:
    """Say what to do where there is nothing to serve."""
    if settings.model_control_mode == "explicit":
        return "nothing is loaded yet: ask for it over HTTP or gRPC, or name it with --load-model"
    return (
        "there is nothing to serve: push one (bascule push FILE), or name files or "
        "--model-repository DIR"
    )


def _progress(loop: ControlLoop, cluster: Cluster) -> str:
    total = len(loop.desired.versions)
    loaded = {
        key
        for workers in cluster.observe().values()
        for worker in workers
        for key, said in worker.versions.items()
        if said.state is VersionState.READY
    }
    return f"loading  {len(loaded)}/{total} loaded" if total else ""


def _table(ready: list[VersionRecord], snapshot: Snapshot) -> list[str]:
    rows = [
        (
            f"{_name(record)}{'  live' if _is_live(record, snapshot) else ''}",
            "" if record.served is None else f"{record.served.platform} on {record.served.device}",
            record.isolation,
        )
        for record in sorted(ready, key=lambda record: record.key)[:TABLE_ROWS]
    ]
    wide = _widths(rows)
    lines = [f"serving  {a:<{wide[0]}}  {b:<{wide[1]}}  {c}".rstrip() for a, b, c in rows]
    if len(ready) > TABLE_ROWS:
        lines.append(f"serving  and {len(ready) - TABLE_ROWS} more: see `bascule status`")
    return lines


def _widths(rows: Iterable[tuple[str, str, str]]) -> tuple[int, int]:
    columns = list(rows)
    first = max((len(row[0]) for row in columns), default=0)
    return first, max((len(row[1]) for row in columns), default=0)


def _is_live(record: VersionRecord, snapshot: Snapshot) -> bool:
    live = snapshot.routes.live.get(record.model)
    return live is not None and live.version == record.version


def _name(record: VersionRecord) -> str:
    return str(record.key) if record.version else record.model
