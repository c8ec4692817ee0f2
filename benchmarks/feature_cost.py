"""What a response cache, an ensemble and priority levels cost and save, in one run.

python -m benchmarks.feature_cost [--rounds N] [--seconds S] [--connections N …] [--results DIR]

All are `mid` (512 → 64 numbers, about 1 ms for 8 rows) in one instance, over HTTP with binary
tensors; rounds are outermost, so that what is compared is measured side by side:

* `same call`: every call has the same input, without a cache and with one (a hit each);
* `new calls`: every call has another input, without a cache and with one (a miss each);
* `two steps`: a client that calls `mid` and then a second model, against an ensemble of both; both
  are counted in pairs;
* `levels`: a queue with three priority levels against the plain one.

On 27 November 2026, 2 cores that others used as well (three rounds of 2 s, times `plain`), one
connection and 32: a hit 8.8 and 3.8, a miss 1.4 and 0.85, the ensemble 1.07 and 1.19, levels 0.93
and 0.95. Rounds differed by up to a third, so what is near 1 is no difference; a miss costs a
digest and a copy, some 20 µs.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.command import run_main
from benchmarks.instance import Instance
from benchmarks.load_tools import Measured, http_load
from benchmarks.loads import Request
from benchmarks.models.graphs import Graph, Port, node
from benchmarks.models.layout import Config, ModelFolder, Tensor
from benchmarks.models.small import small_models
from benchmarks.report import Sample
from benchmarks.side_by_side import Comparison, compare

PLAIN: Final = "plain"
MID: Final = Request(model="mid", inputs={"x": np.ones((1, 512), np.float32)})
HEAD: Final = Request(model="head", inputs={"y": np.ones((1, 64), np.float32)})
STEPS: Final = """
ensemble_scheduling { step [
  { model_name: "mid" model_version: -1
    input_map { key: "x" value: "x" } output_map { key: "y" value: "middle" } },
  { model_name: "head" model_version: -1
    input_map { key: "y" value: "middle" } output_map { key: "z" value: "z" } }
] }
"""
LEVELS: Final = "dynamic_batching { priority_levels: 3 default_priority_level: 2 }\n"

# Digits over the first elements of the tensor: another number in each call, and in each run.
EACH_ANOTHER: Final = """
local count = (os.time() % 1000000) * 1000000
request = function()
  count = count + 1
  local body = wrk.body:sub(1, {header}) .. string.format("%012d", count)
  return wrk.format(nil, nil, nil, body .. wrk.body:sub({header} + 13))
end
"""
# The other model's request after each: pairs, strictly in turn where there is one connection.
IN_TURN: Final = """
local other_file = assert(io.open("{body}", "rb"))
local other = other_file:read("*a")
local headers = {{ ["Content-Type"] = "application/octet-stream",
                  ["Inference-Header-Content-Length"] = "{header}" }}
local is_first = false
request = function()
  is_first = not is_first
  if is_first then return wrk.format() end
  return wrk.format("POST", "{path}", headers, other)
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One system under one load."""

    load: str
    system: str
    request: Request
    more_script: str = ""
    calls: int = 1
    """How many calls are one of what is counted."""


def main() -> int:
    """Measure, print, write."""
    return compare(
        Comparison(
            name="feature_cost",
            about="what cache, ensembles and priorities cost",
            title="What features cost",
            plain=PLAIN,
            models=_models,
            measured=_round,
        )
    )


def _round(number: int, instance: Instance, connections: int, seconds: float) -> Iterator[Sample]:
    with tempfile.TemporaryDirectory() as scratch:
        for case in _cases(Path(scratch)):
            script = case.request.write_for_wrk(Path(scratch))
            with script.open("a") as file:
                file.write(case.more_script)
            found = http_load(instance.http, case.request.path, script, connections, seconds)
            yield Sample(
                system=case.system,
                load=f"{case.load}, {connections} connections",
                round=number,
                measured=_per_case(found, case.calls),
            )


def _per_case(found: Measured, calls: int) -> Measured:
    """Count several calls in turn as one; how long each took says nothing of them together."""
    if calls == 1:
        return found
    rate = found.requests_per_s / calls
    return replace(found, requests_per_s=rate, p50_s=float("nan"), p99_s=float("nan"))


def _cases(folder: Path) -> Sequence[Case]:
    _, header_bytes = MID.http_body()
    new = EACH_ANOTHER.format(header=header_bytes)
    body, body_header_bytes = HEAD.http_body()
    (folder / "head.bin").write_bytes(body)
    in_turn = IN_TURN.format(body=folder / "head.bin", path=HEAD.path, header=body_header_bytes)
    cached, levels, both = (
        replace(MID, model=model) for model in ("mid_cached", "mid_levels", "both")
    )
    return (
        Case(load="same call", system=PLAIN, request=MID),
        Case(load="same call", system="cache", request=cached),
        Case(load="new calls", system=PLAIN, request=MID, more_script=new),
        Case(load="new calls", system="cache", request=cached, more_script=new),
        Case(load="two steps", system=PLAIN, request=MID, more_script=in_turn, calls=2),
        Case(load="two steps", system="ensemble", request=both),
        Case(load="levels", system=PLAIN, request=MID),
        Case(load="levels", system="levels", request=levels),
    )


def _models() -> Iterator[ModelFolder]:
    (mid,) = (model for model in small_models() if model.name == "mid")
    yield mid
    cache = "response_cache { enable: true }\n"
    yield replace(mid, name="mid_cached", config=replace(mid.config, extra=cache))
    yield replace(mid, name="mid_levels", config=replace(mid.config, extra=LEVELS))
    head = Graph(
        nodes=[node("MatMul", ["y", "W"], ["z"])],
        inputs=[Port("y", "FP32", ("N", 64))],
        outputs=[Port("z", "FP32", ("N", 16))],
        weights={"W": np.full((64, 16), 0.125, np.float32)},
    )
    yield head.folder("head", 64)
    config = Config(
        backend="",
        max_batch_rows=64,
        inputs=(Tensor(name="x", datatype="FP32", dims=(512,)),),
        outputs=(Tensor(name="z", datatype="FP32", dims=(16,)),),
        extra=f'platform: "ensemble"\n{STEPS}',
    )
    yield ModelFolder(name="both", config=config, files={"1/.empty": b""})


if __name__ == "__main__":
    run_main(main)
