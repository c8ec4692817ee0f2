"""Pure: what HAProxy says of the backends that pools have → metric samples."""

from collections.abc import Iterator, Mapping
from typing import Final

from serving.monitor import edge_catalogue
from serving.monitor.exposition import Sample

MS_PER_S: Final = 1_000
PARTS: Final = {"queue": "qtime", "connect": "ctime", "response": "rtime", "total": "ttime"}
WAYS: Final = {"same": "wretr", "other": "wredis"}
KINDS: Final = {"connect": "econ", "response": "eresp", "5xx": "hrsp_5xx"}


def pool_samples(statistics: str, pools: Mapping[str, str]) -> Iterator[Sample]:
    """Give the samples of pools.

    Args:
        statistics: The answer to `show stat -1 2 -1`: a head, and a line for each backend.
        pools: Pool → its slot.
    """
    head, *lines = statistics.splitlines()
    names = head.removeprefix("# ").split(",")
    columns = (dict(zip(names, line.split(","), strict=False)) for line in lines if line)
    by_slot = {column["pxname"]: column for column in columns}
    for pool, slot in sorted(pools.items()):
        if slot in by_slot:
            yield from _of_pool(by_slot[slot], pool)


def _of_pool(column: Mapping[str, str], pool: str) -> Iterator[Sample]:
    for part, name in PARTS.items():
        seconds = _number(column, name) / MS_PER_S
        yield Sample(edge_catalogue.EDGE_TIME, seconds, (pool, part))
    for way, name in WAYS.items():
        yield Sample(edge_catalogue.EDGE_RETRIES, _number(column, name), (pool, way))
    for kind, name in KINDS.items():
        yield Sample(edge_catalogue.EDGE_ERRORS, _number(column, name), (pool, kind))
    yield Sample(edge_catalogue.EDGE_WAITING, _number(column, "qcur"), (pool,))
    yield Sample(edge_catalogue.EDGE_WORKERS_UP, _number(column, "act"), (pool,))


def _number(column: Mapping[str, str], name: str) -> int:
    return int(column.get(name) or 0)
