"""Loads an instance for some seconds, and counts what that cost it: CPU time and memory."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.compare.processes import cpu_s, spent_s
from benchmarks.growth.point import Point
from benchmarks.instance import Instance
from benchmarks.load_tools import WRK_TIMEOUT_S, Measured, http_load
from benchmarks.loads import Request
from benchmarks.models import many

SPREAD: Final = """
local requests, at = {{}}, 0
init = function(args)
  local body = assert(io.open("{body}", "rb")):read("*a")
  local headers = {{}}
  headers["Content-Type"] = "application/octet-stream"
  headers["Inference-Header-Content-Length"] = "{head_bytes}"
  for index = 0, {count} - 1 do
    local path = string.format("/v2/models/many_%05d/infer", index)
    requests[index] = wrk.format("POST", path, headers, body)
  end
end
request = function()
  at = (at + 1) % {count}
  return requests[at]
end
"""


def one_row() -> Request:
    """Return a request of one row to the first of many models."""
    return Request(model=many.name(0), inputs={"x": np.ones((1, many.COLUMNS_IN), np.float32)})


def spread_script(folder: Path, count: int) -> Path:
    """Write what makes wrk ask each of so many models in turn; return its path."""
    body, head_bytes = one_row().http_body()
    body_file = folder / "spread.bin"
    body_file.write_bytes(body)
    script = folder / f"spread-{count}.lua"
    script.write_text(SPREAD.format(body=body_file, head_bytes=head_bytes, count=count))
    return script


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What wrk does."""

    path: str
    script: Path
    connections: int
    seconds: float
    timeout_s: int = WRK_TIMEOUT_S


def loaded(instance: Instance, load: Load, *, series: str, size: int) -> Point:
    """Load an instance, and return what was found."""
    before = cpu_s(instance.processes())
    found = http_load(
        instance.http,
        load.path,
        load.script,
        load.connections,
        load.seconds,
        timeout_s=load.timeout_s,
    )
    spent = spent_s(before, cpu_s(instance.processes()))
    point = point_of(found, sum(spent.values()), series=series, size=size)
    return replace(point, memory_bytes=instance.memory_bytes())


def point_of(found: Measured, own_cpu_s: float, *, series: str, size: int) -> Point:
    """Share what an instance spent on CPUs among all requests that were sent."""
    return Point(
        series=series,
        size=size,
        per_s=found.requests_per_s,
        p50_s=found.p50_s,
        p99_s=found.p99_s,
        cpu_s=own_cpu_s / found.sent_count if found.sent_count else 0.0,
        failures=(found.failures,) if found.failures else (),
    )
