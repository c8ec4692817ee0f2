"""Bundles for rollouts that shall fail: each candidate has one fault, and the same contract.

    x FP32 [N,16] → y FP32 [N,16]: y = x + 1

`healthy` is right, and takes about a millisecond a run, as `live` does; its data contract, of both
versions, is broken by 2 % of the calls. Importing this module
imports neither torch nor an engine; writing TorchScript does.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from runtimes.golden import read_sample, write_sample
from serving.registry.bundles.bundle import Bundle
from serving.registry.bundles.completion import RunOrder, complete_bundle
from serving.registry.bundles.golden_samples import specs_of
from serving.registry.bundles.manifest import Manifest
from serving.registry.bundles.packing import PackOrder, pack_bundle

COLUMNS: Final = 16
STEPS: Final = 40
"""Products of 128 by 128 matrices that a run computes: about a millisecond."""
SLOW_STEPS: Final = 5 * STEPS
WRONG_OVER: Final = 2.326
"""A row whose first value is above is wrong: 1 % of normal values are."""
CRASH_OVER: Final = 3.1
"""A row whose first value is above ends the process: 0.1 % of them."""
DRIFT: Final = 0.5
"""Standard deviations of the outputs, which have one of 1."""
LEAK_BYTES: Final = 2**20
"""Kept by each run."""
CONFIG: Final = (
    "max_batch_size: 32\n"
    'input [ { name: "x" data_type: TYPE_FP32 dims: [16] } ]\n'
    'output [ { name: "y" data_type: TYPE_FP32 dims: [16] } ]\n'
)

FAULTS: Final = (
    "healthy",
    "slower",
    "wrong",
    "crashing",
    "leaking",
    "golden",
    "drifting",
    "breaking",
    "refusing",
)
REFUSED_OVER: Final = 3.417
"""A value above is refused by the contract of `refusing`: 2 % of requests of 4 rows have one."""
OF_ANSWERS: Final = "contract: 1\noutputs: {y: {max: 4.417, on_violation: count}}\n"
"""2 % of requests have an answer that breaks it."""
OF_REQUESTS: Final = "contract: 1\ninputs: {{x: {{max: {limit}, on_violation: reject}}}}\n"
CONTRACTS: Final[Mapping[str, tuple[str, str]]] = {
    "healthy": (OF_ANSWERS, OF_ANSWERS),
    "breaking": (OF_ANSWERS, OF_ANSWERS),
    "refusing": (OF_REQUESTS.format(limit=100), OF_REQUESTS.format(limit=REFUSED_OVER)),
}
"""Model → the data contract of its first version and of the others."""
BROKEN_BY: Final = 10.0
"""Added to each hundredth row of `breaking`, which then breaks its contract."""


def write_bundles(folder: Path, fault: str, versions: tuple[int, ...] = (1, 2)) -> list[Path]:
    """Pack a model of a fault's name: its first version is right, the others have the fault."""
    return [
        _packed(folder, fault, version, is_first=version == versions[0]) for version in versions
    ]


def _packed(folder: Path, name: str, version: int, *, is_first: bool) -> Path:
    kind = "live" if is_first else name
    content = _content(name, kind)
    is_torch = name in {"crashing", "leaking"}
    source = folder / f"{name}-{version}-source" / ("model.pt" if is_torch else "model.onnx")
    source.parent.mkdir(parents=True)
    source.write_bytes(content)
    contract = CONTRACTS.get(name, ("", ""))[not is_first]
    contract_file = source.parent / "contract.yaml" if contract else None
    if contract_file is not None:
        contract_file.write_text(contract)
    order = PackOrder(
        model_file=source,
        name=name,
        version=version,
        created_utc=datetime.now(UTC),
        config=CONFIG if is_torch else "",
        notes=f"{kind} {version}",
        contract_file=contract_file,
    )
    bundle = folder / f"{name}-{version}"
    pack_bundle(order, bundle, _of_another_model if kind == "golden" else _complete)
    return bundle


def _complete(draft: Bundle) -> Manifest:
    return complete_bundle(draft, RunOrder())[0]


def _of_another_model(draft: Bundle) -> Manifest:
    """Let the golden samples say what this model does not answer."""
    manifest = _complete(draft)
    for inner in manifest.golden.samples if manifest.golden else ():
        path = draft.folder / inner
        sample = read_sample(path, specs_of(manifest))
        path.unlink()
        outputs = tuple(output + np.float32(0.01) for output in sample.outputs)
        write_sample(path, replace(sample, outputs=outputs))
    return manifest


def _content(name: str, kind: str) -> bytes:
    if name in {"crashing", "leaking"}:
        return _torch_model(kind)
    if kind == "slower":
        return _onnx_model(SLOW_STEPS)
    if kind == "wrong":
        return _onnx_model(STEPS, wrong_over=WRONG_OVER)
    if kind == "breaking":
        return _onnx_model(STEPS, wrong_over=WRONG_OVER, wrong_by=BROKEN_BY)
    return _onnx_model(STEPS, offset=1 + DRIFT if kind == "drifting" else 1.0)


def _onnx_model(
    steps: int, *, offset: float = 1.0, wrong_over: float | None = None, wrong_by: float = 0.5
) -> bytes:
    """Add `offset`, after so many products; rows over the limit are wrong by so much."""
    nodes = [
        helper.make_node("Loop", ["steps", "", "start"], ["end"], body=_product()),
        helper.make_node("ReduceSum", ["end"], ["sum"], keepdims=0),  # 128 after any number
        helper.make_node("Sub", ["sum", "least"], ["added"]),
        helper.make_node("Add", ["x", "added"], ["right"]),
        *_last_nodes(wrong_over),
    ]
    constants = {
        "steps": np.array(steps, np.int64),
        "start": np.eye(128, dtype=np.float32),
        "R": np.roll(np.eye(128, dtype=np.float32), 1, axis=1),
        "least": np.array(128.0 - offset, np.float32),
        "first": np.array([0], np.int64),
        "limit": np.array(wrong_over or 0.0, np.float32),
        "by": np.array(wrong_by, np.float32),
    }
    used = {name for node in (*nodes, *_product().node) for name in node.input}
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", COLUMNS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", COLUMNS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _product() -> onnx.GraphProto:
    """One step of the loop: carry @ R, a permutation, so that values stay exact."""
    matrix = TensorProto.FLOAT, [128, 128]
    return helper.make_graph(
        [
            helper.make_node("MatMul", ["carry", "R"], ["next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "product",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carry", *matrix),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", *matrix),
        ],
    )


def _last_nodes(wrong_over: float | None) -> list[NodeProto]:
    if wrong_over is None:
        return [helper.make_node("Identity", ["right"], ["y"])]
    return [
        helper.make_node("Gather", ["x", "first"], ["begin"], axis=1),
        helper.make_node("Greater", ["begin", "limit"], ["is_over"]),
        helper.make_node("Cast", ["is_over"], ["one_or_zero"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["one_or_zero", "by"], ["error"]),
        helper.make_node("Add", ["right", "error"], ["y"]),
    ]


def _torch_model(kind: str) -> bytes:
    from benchmarks.planted_torch import Crashing, Leaking, Right, scripted  # noqa: PLC0415  heavy

    if kind == "live":
        return scripted(Right())
    return scripted(Crashing(CRASH_OVER) if kind == "crashing" else Leaking(LEAK_BYTES // 4))
