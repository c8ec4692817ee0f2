"""Ask real models something that a person can judge at a glance, over both wires."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import np_to_triton_dtype

from benchmarks.demo_inputs import WordPiece, file_features
from benchmarks.demo_report import Outcome

Array = np.ndarray[Any, np.dtype[Any]]
Ask = Callable[[str, Mapping[str, Array], str], Array]

ROOT: Final = Path(__file__).parents[1]
REPEATS: Final = 20
QUESTION: Final = "How do I reset my password?"
SENTENCES: Final = (
    "I forgot my login and need a new one.",
    "Where can I park my car?",
    "The soup was too salty.",
)
FILES: Final = {
    "Makefile": "makefile",
    "README.md": "markdown",
    "benchmarks/demo.py": "python",
    "pyproject.toml": "toml",
    ".ci/run": "shell",
}
SAME: Final = 1e-4  # largest difference between two formats of one network


def ask_about_sentences(http: str, grpc: str, repository: Path) -> Outcome:
    """Compare a question with sentences: MiniLM as ONNX over HTTP, as TorchScript over gRPC."""
    ids, mask = WordPiece(repository / "minilm" / "vocab.txt").batch([QUESTION, *SENTENCES])
    over_http, over_grpc = _http(http), _grpc(grpc)
    onnx, onnx_s = _timed(
        over_http, "minilm", {"input_ids": ids, "attention_mask": mask}, "sentence_embedding"
    )
    torch, torch_s = _timed(
        over_grpc, "minilm_ts", {"INPUT__0": ids, "INPUT__1": mask}, "OUTPUT__0"
    )
    likeness = onnx[1:] @ onnx[0]
    failures = []
    if int(likeness.argmax()) != 0:
        failures.append("the sentence about the login is not the most alike")
    if (difference := float(np.abs(onnx - torch).max())) > SAME:
        failures.append(f"ONNX and TorchScript differ by {difference}")
    return Outcome(
        title=f"Which sentence is most like '{QUESTION}'?",
        lines=(
            "MiniLM, a language model, finds these alike (100%: the same):",
            *(f"{share:5.0%}  {text}" for share, text in zip(likeness, SENTENCES, strict=True)),
            f"Served as ONNX and as TorchScript; the two differ by {difference:.0e} at most.",
        ),
        latencies_s={"http": onnx_s, "grpc": torch_s},
        request_count=len(onnx_s) + len(torch_s),
        failures=tuple(failures),
    )


def ask_about_files(http: str, grpc: str, repository: Path) -> Outcome:
    """Ask magika what some files of this repository are, over both wires."""
    labels = (repository / "magika" / "labels.txt").read_text().splitlines()
    features = np.concatenate([file_features(ROOT / name) for name in FILES])
    replies = [
        _timed(ask, "magika", {"bytes": features}, "target_label")
        for ask in (_http(http), _grpc(grpc))
    ]
    scores = replies[0][0]
    found = [labels[int(row.argmax())] for row in scores]
    failures = [
        f"{name} is {label}, not {said}"
        for (name, label), said in zip(FILES.items(), found, strict=True)
        if said != label
    ]
    if not np.array_equal(scores, replies[1][0]):
        failures.append("HTTP and gRPC gave different answers")
    return Outcome(
        title="What are these files?",
        lines=(
            "magika reads their bytes, not their names, and says how sure it is:",
            *(
                f"  {name:20} {said} ({row.max():.0%})"
                for name, said, row in zip(FILES, found, scores, strict=True)
            ),
        ),
        latencies_s={"http": replies[0][1], "grpc": replies[1][1]},
        request_count=2 * REPEATS,
        failures=tuple(failures),
    )


def _timed(
    ask: Ask, model: str, inputs: Mapping[str, Array], output: str
) -> tuple[Array, list[float]]:
    """Ask the same thing some times; return the last answer and the sorted latencies."""
    answer = ask(model, inputs, output)  # the first one may find caches cold
    times_s = []
    for _ in range(REPEATS):
        started_s = time.monotonic()
        answer = ask(model, inputs, output)
        times_s.append(time.monotonic() - started_s)
    return answer, sorted(times_s)


def _http(address: str) -> Ask:
    return _with(triton_http, triton_http.InferenceServerClient(address))


def _grpc(address: str) -> Ask:
    return _with(triton_grpc, triton_grpc.InferenceServerClient(address))


def _with(library: Any, client: Any) -> Ask:
    def ask(model: str, inputs: Mapping[str, Array], output: str) -> Array:
        tensors = []
        for name, value in inputs.items():
            tensor = library.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
            tensor.set_data_from_numpy(value)
            tensors.append(tensor)
        result: Array = client.infer(model, tensors).as_numpy(output)
        return result

    return ask
