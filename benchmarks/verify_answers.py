"""Ask a running server every model over every transport; compare with the bare engine.

    python -m benchmarks.verify_answers REPOSITORY --http HOST:PORT --grpc HOST:PORT [--only NAME …]

The bare engine runs in this process, on the same file, with the same inputs. HTTP with binary
tensors, HTTP with JSON (where JSON can carry the tensors) and gRPC must give its answer bit for
bit.
Prints one line per model and `N passed, M failed`; exits 1 when one failed.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

Array = np.ndarray[Any, np.dtype[Any]]
Feeds = dict[str, Array]

NO_JSON: Final = frozenset({"FP16", "BF16"})
# Free dimensions that the model only takes in certain sizes; the first number is the batch.
SHAPES: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = MappingProxyType(
    {
        "accumulator": {"x": (1, 4)},
        "silero_vad": {"input": (1, 576), "state": (2, 1, 128), "sr": (1,)},
        "silero_vad_ts": {"INPUT__0": (1, 512), "INPUT__1": (1,)},
        "silero_vad_stateless_ts": {"INPUT__0": (1, 576), "INPUT__1": (2, 1, 128)},
        "ocr_det": {"x": (2, 3, 64, 96)},
        "ocr_cls": {"x": (2, 3, 48, 192)},
        "ocr_rec": {"x": (2, 3, 48, 320)},
    }
)
# Largest value (exclusive) of integer inputs where an index out of bounds would be an error.
BELOW: Final[Mapping[str, int]] = MappingProxyType(
    {"minilm": 2, "minilm_ts": 2, "fail_on_demand": 4, "slow": 2, "magika": 256}
)
SAMPLE_RATE_HZ: Final = 16_000
# A sequence of one call: its state is the first one, zeros.
WHOLE_SEQUENCE: Final = MappingProxyType(
    {"sequence_id": 7, "sequence_start": True, "sequence_end": True}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A model's inputs as metadata describes them, and one set of values."""

    model: str
    datatypes: Mapping[str, str]
    feeds: Feeds
    options: Mapping[str, Any]
    """Of the client's call."""


def question(model: str, metadata: Mapping[str, Any], config: Mapping[str, Any]) -> Question:
    """Make one set of inputs for a model from what it says of itself; the same on every call."""
    rng = np.random.default_rng(7)
    feeds: Feeds = {}
    for tensor in metadata["inputs"]:
        name = tensor["name"]
        free = iter((2, 5, 4, 3, 2, 2, 2))
        shape = SHAPES.get(model, {}).get(name) or tuple(
            next(free) if size < 0 else size for size in tensor["shape"]
        )
        feeds[name] = _values(model, name, tensor["datatype"], shape, rng)
    datatypes = {t["name"]: t["datatype"] for t in metadata["inputs"]}
    options = WHOLE_SEQUENCE if "sequence_batching" in config else MappingProxyType({})
    return Question(model=model, datatypes=datatypes, feeds=feeds, options=options)


def _values(
    model: str, name: str, datatype: str, shape: tuple[int, ...], rng: np.random.Generator
) -> Array:
    dtype = triton_http.triton_to_np_dtype(datatype)
    if datatype == "BYTES":
        numbers = rng.integers(-99, 99, shape)
        return np.array([str(n).encode() for n in numbers.ravel()], object).reshape(shape)
    if datatype == "BOOL":
        return rng.integers(0, 2, shape).astype(bool)
    if name == "sr" or (model == "silero_vad_ts" and name == "INPUT__1"):
        return np.full(shape, SAMPLE_RATE_HZ, dtype)
    if datatype.startswith(("INT", "UINT")):
        low = 1 if model in BELOW and model not in {"fail_on_demand", "magika"} else 0
        return rng.integers(low, BELOW.get(model, 100), shape).astype(dtype)
    return rng.random(shape, np.float32).astype(dtype)


def bare_onnx(file: Path, feeds: Feeds, names: list[str]) -> list[Array]:
    """Run the file in ONNX Runtime alone, with one thread; what is not fed is zero."""
    import onnxruntime as ort  # noqa: PLC0415  an engine, and only for models of its format

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, value in feeds.items():
        if value.dtype.name == "bfloat16":
            bits = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(value.view(np.uint16), 16)
            binding.bind_ortvalue_input(name, bits)
        elif value.dtype == object:
            text = np.array([v.decode() for v in value.ravel()], object).reshape(value.shape)
            return [_bytes(o) for o in session.run(names, {name: text})]
        else:
            binding.bind_cpu_input(name, value)
    for state in session.get_inputs():
        if state.name not in feeds and state.type == "tensor(float)":
            binding.bind_cpu_input(state.name, np.zeros(state.shape, np.float32))
    for name in names:
        binding.bind_output(name)
    session.run_with_iobinding(binding)
    return [_plain(value) for value in binding.get_outputs()]


def _plain(value: Any) -> Array:
    if value.element_type() == 16:  # noqa: PLR2004  ONNX's BFLOAT16, which numpy does not know
        import torch  # noqa: PLC0415  reads the bits of what numpy cannot

        bits = torch.utils.dlpack.from_dlpack(value._ortvalue.to_dlpack()).view(torch.uint16)  # noqa: SLF001
        return np.asarray(bits.numpy()).view(triton_http.triton_to_np_dtype("BF16"))
    return np.asarray(value.numpy())


def _bytes(value: Array) -> Array:
    if value.dtype != object:
        return value
    return np.array([str(v).encode() for v in value.ravel()], object).reshape(value.shape)


def bare_torch(file: Path, feeds: Feeds, run_count: int) -> list[list[Array]]:
    """Run the file in torch alone, inputs by position, with one thread, several times.

    A module may keep state between runs: the n-th answer of the server is the n-th one here.
    """
    import torch  # noqa: PLC0415  an engine, and only for models of its format

    torch.set_num_threads(1)
    load = cast("Callable[..., Any]", torch.jit.load)  # torch leaves it untyped
    module = load(str(file), map_location="cpu").eval()
    arguments = module.forward.schema.arguments[1:]
    values = [
        int(v[0]) if a.type.kind() == "IntType" else torch.from_numpy(v.copy())
        for a, v in zip(arguments, feeds.values(), strict=True)
    ]
    runs = []
    for _ in range(run_count):
        with torch.inference_mode():
            result = module(*values)
        outputs = [result] if isinstance(result, torch.Tensor) else list(result)
        runs.append([np.asarray(o.numpy()).copy() for o in outputs])
    return runs


def ask_http(
    client: Any,
    q: Question,
    names: list[str],
    *,
    binary: bool,
) -> list[Array]:
    """One HTTP request; binary tensors or JSON in both directions."""
    inputs = []
    for name, value in q.feeds.items():
        tensor = triton_http.InferInput(name, list(value.shape), q.datatypes[name])
        tensor.set_data_from_numpy(value, binary_data=binary)
        inputs.append(tensor)
    outputs = [triton_http.InferRequestedOutput(n, binary_data=binary) for n in names]
    reply = client.infer(q.model, inputs, outputs=outputs, **q.options)
    return [_from_json(reply.as_numpy(n)) for n in names]


def _from_json(value: Array) -> Array:
    if value.dtype != object:
        return value
    flat = [v.encode() if isinstance(v, str) else v for v in value.ravel()]
    return np.array(flat, object).reshape(value.shape)


def ask_grpc(client: Any, q: Question, names: list[str]) -> list[Array]:
    """One gRPC request."""
    inputs = []
    for name, value in q.feeds.items():
        tensor = triton_grpc.InferInput(name, list(value.shape), q.datatypes[name])
        tensor.set_data_from_numpy(value)
        inputs.append(tensor)
    reply = client.infer(q.model, inputs, **q.options)
    return [reply.as_numpy(n) for n in names]


def differences(got: list[Array], want: list[Array]) -> str:
    """Say how two sets of outputs differ; empty when they are bit for bit the same."""
    for index, (a, b) in enumerate(zip(got, want, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {index}: {a.dtype}{list(a.shape)}, expected {b.dtype}{list(b.shape)}"
        texts = a.dtype == object
        if (a.tolist() != b.tolist()) if texts else (a.tobytes() != b.tobytes()):
            return f"output {index}: values differ"
    return ""


def verify(model: str, folder: Path, http: Any, grpc: Any) -> str:
    """Verify one model on every transport; return what is wrong, or nothing."""
    metadata = http.get_model_metadata(model)
    version = folder / metadata["versions"][-1]
    q = question(model, metadata, http.get_model_config(model))
    names = [t["name"] for t in metadata["outputs"]]
    tensors = [*metadata["inputs"], *metadata["outputs"]]
    asks: dict[str, Callable[[], list[Array]]] = {
        "HTTP binary": lambda: ask_http(http, q, names, binary=True),
        "gRPC": lambda: ask_grpc(grpc, q, names),
    }
    if not NO_JSON & {t["datatype"] for t in tensors}:
        asks["HTTP JSON"] = lambda: ask_http(http, q, names, binary=False)
    onnx = version / "model.onnx"
    if onnx.exists():
        wants = [bare_onnx(onnx, q.feeds, names)] * len(asks)
    else:
        wants = bare_torch(version / "model.pt", q.feeds, len(asks))
    wrong = {
        transport: differences(ask(), want)
        for (transport, ask), want in zip(asks.items(), wants, strict=True)
    }
    return "; ".join(f"{transport}: {text}" for transport, text in wrong.items() if text)


def main() -> int:
    """Verify every model that the server says is ready."""
    parser = argparse.ArgumentParser(description="compare a server's answers with the bare engine")
    parser.add_argument("repository", type=Path)
    parser.add_argument("--http", default="127.0.0.1:8000")
    parser.add_argument("--grpc", default="127.0.0.1:8001")
    parser.add_argument("--only", nargs="+", default=())
    options = parser.parse_args()
    http = triton_http.InferenceServerClient(options.http, network_timeout=300)
    grpc = triton_grpc.InferenceServerClient(options.grpc)
    ready = {m["name"] for m in http.get_model_repository_index() if m.get("state") == "READY"}
    passed = failed = 0
    for model in sorted(set(options.only) or ready):
        try:
            wrong = verify(model, options.repository / model, http, grpc)
        except Exception as error:  # noqa: BLE001  a report of many models: one failure is a line
            wrong = f"{type(error).__name__}: {error}"
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(f"{model}: {wrong or 'equal'}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
