"""The measurement of a node says what it did not run and why, and fails when serving costs much."""

from dataclasses import replace
from typing import Any, Final

import pytest

from benchmarks.gpu.cases import (
    BATCHES,
    MAX_BATCH_ROWS,
    MODELS,
    Case,
    Plan,
    cases_of,
    connections_for,
    seconds_for,
)
from benchmarks.gpu.node import Node, Problem, findings_of, obstacle
from benchmarks.gpu.page import facts, page
from benchmarks.gpu.results import (
    Failed,
    Measured,
    Round,
    Row,
    Skipped,
    exit_status,
    rows_without,
    verdicts,
)
from runtimes.facts import GpuFacts, NodeFacts, OnnxRuntimeFacts, TorchFacts

ON_CPU: Final = Case("mid", "onnx", "cpu")
ON_CUDA: Final = Case("mid", "onnx", "cuda")
TORCH_ON_CUDA: Final = Case("mid", "torchscript", "cuda")
GPU: Final = GpuFacts(
    index=0,
    uuid="GPU-1",
    name="NVIDIA H100",
    memory_bytes=80 << 30,
    free_memory_bytes=79 << 30,
    compute_capability=(9, 0),
)
FACTS: Final = NodeFacts(
    machine="x86_64",
    system="Linux-6.1.0",
    libc="glibc 2.36",
    cpu_model="a CPU",
    cpu_flags=frozenset({"avx2"}),
    cpu_count=16,
    memory_bytes=128 << 30,
    free_memory_bytes=100 << 30,
    python="3.11.7",
    driver="580.1",
    driver_cuda="13.0",
    gpus=(GPU,),
    onnxruntime=OnnxRuntimeFacts(
        version="1.31.1",
        distributions=("onnxruntime-gpu",),
        providers=("CUDAExecutionProvider",),
        max_opset=26,
        max_ir_version=13,
        cuda_version="13.0",
    ),
    torch=TorchFacts(version="2.13.0", cuda_version="13.0"),
)
NODE: Final = Node(facts=FACTS, has_load_tool=True, doctor=())


def on(**changes: object) -> Node:
    """A good GPU node, but for these facts."""
    return replace(NODE, facts=replace(FACTS, **changes))


def measured(served: float, bare: float = 1000.0, *, rounds: int = 1) -> Measured:
    """Figures of one batch size, the same in every round."""
    one = Round(
        bare_rows_per_s=bare,
        bare_run_p50_s=0.001,
        served_rows_per_s=served,
        served_p50_s=0.002,
        served_p99_s=0.003,
    )
    return Measured(rounds=(one,) * rounds, connections=4)


def row(case: Case, served: float, bare: float = 1000.0, size: int = 8) -> Row:
    """One measured line."""
    return Row(case=case, batch_rows=size, found=measured(served, bare))


@pytest.mark.parametrize("case", list(cases_of(MODELS)), ids=str)
def test_a_good_gpu_node_runs_everything(case: Case) -> None:
    """Where nothing is missing, nothing is left out."""
    assert obstacle(case, NODE, ()) is None


@pytest.mark.parametrize(
    ("case", "changes", "words"),
    [
        (ON_CUDA, {"gpus": (), "gpu_problem": "NVML Shared Library Not Found"}, "NVML Shared"),
        (ON_CUDA, {"gpus": ()}, "no GPU here"),
        (ON_CUDA, {"gpus": (replace(GPU, is_mig=True),)}, "MIG"),
        (ON_CUDA, {"gpus": (replace(GPU, compute_mode="exclusive_process"),)}, "exclusive_process"),
        (ON_CUDA, {"onnxruntime": None}, "ONNX Runtime is not installed"),
        (TORCH_ON_CUDA, {"torch": None}, "torch is not installed"),
        (TORCH_ON_CUDA, {"torch": TorchFacts(version="2.13.0+cpu")}, "build for the CPU"),
        (
            TORCH_ON_CUDA,
            {"torch": replace(TorchFacts(version="2"), cuda_version="13", cuda_problem="too old")},
            "cannot use CUDA here: too old",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_part_that_cannot_run_says_why(
    case: Case, changes: dict[str, object], words: str
) -> None:
    """The reason names what is missing; the CPU's part does not care."""
    assert words in str(obstacle(case, on(**changes), ()))
    assert obstacle(ON_CPU, on(**changes), ()) is None


def test_one_engine_without_cuda_leaves_the_other() -> None:
    """A torch for the CPU keeps TorchScript from CUDA, not ONNX."""
    node = on(torch=TorchFacts(version="2.13.0+cpu"))

    assert obstacle(TORCH_ON_CUDA, node, ())
    assert obstacle(ON_CUDA, node, ()) is None


def test_an_instance_of_a_cut_gpu_can_be_used() -> None:
    """What cannot be used is the GPU that is cut, not what it was cut into."""
    node = on(gpus=(replace(GPU, is_mig=True), replace(GPU, uuid="MIG-1")))

    assert obstacle(ON_CUDA, node, ()) is None


def test_what_preflight_refuses_is_not_run() -> None:
    """An error of preflight is the reason, with its code; warnings are none."""
    error, warning = (
        {"code": code, "severity": word, "subject": "model", "message": "too big"}
        for code, word in (("BP-E05", "error"), ("BP-T03", "warning"))
    )

    assert "BP-E05: model: too big" in str(
        obstacle(ON_CPU, NODE, findings_of({"findings": [warning, error]}))
    )
    assert obstacle(ON_CPU, NODE, findings_of({"findings": [warning]})) is None


def test_without_a_load_generator_nothing_is_served() -> None:
    """The reason says how to install it."""
    assert "apt-get install wrk" in str(obstacle(ON_CPU, replace(NODE, has_load_tool=False), ()))


@pytest.mark.parametrize(("served", "status"), [(1100, 0), (950, 0), (949, 1), (10, 1)])
def test_served_must_leave_most_of_bare(served: float, status: int) -> None:
    """Exit status 0 from 95 % on, 1 below."""
    assert exit_status([row(ON_CPU, served)], is_cuda_required=False) == status


def test_each_is_judged_at_its_own_best_batch_size() -> None:
    """Small requests that are slow do not count where larger ones saturate, nor flattering ones."""
    rows = [row(ON_CPU, 100, 50, size=1), row(ON_CPU, 900, 800, size=8), row(ON_CPU, 800, 1000, 64)]

    (found,) = verdicts(rows)

    assert (found.served_batch_rows, found.bare_batch_rows) == (8, 64)
    assert found.ratio == pytest.approx(0.9)
    assert not found.holds


def test_ratios_are_those_of_rounds() -> None:
    """A machine that was slow for a round was slow for both: the median is over rounds' ratios."""
    fast, slow, odd = (measured(*pair).rounds[0] for pair in ((96, 100), (48, 50), (10, 100)))
    rows = [Row(case=ON_CPU, batch_rows=8, found=Measured(rounds=(fast, slow, odd), connections=4))]

    assert verdicts(rows)[0].ratio == pytest.approx(0.96)


def test_what_could_not_run_does_not_fail_unless_it_is_required() -> None:
    """A node without a GPU passes with its CPU part; with `--require-cuda` it does not."""
    rows = [row(ON_CPU, 990), *rows_without(ON_CUDA, (1, 8), Skipped("no GPU here"))]

    assert exit_status(rows, is_cuda_required=False) == 0
    assert exit_status(rows, is_cuda_required=True) == 1


def test_what_broke_fails() -> None:
    """A part that should have run and did not is a failure, whatever the others gave."""
    rows = [row(ON_CPU, 990), *rows_without(ON_CUDA, (8,), Failed("a wrong answer"))]

    assert exit_status(rows, is_cuda_required=False) == 1
    assert [one.case for one in verdicts(rows)] == [ON_CPU]


def test_one_broken_batch_size_leaves_the_others() -> None:
    """What was measured stays in the table, but a case with a gap is not judged, and fails."""
    rows = [row(ON_CPU, 990), Row(case=ON_CPU, batch_rows=64, found=Failed("too slow"))]

    assert verdicts(rows) == []
    assert exit_status(rows, is_cuda_required=False) == 1


def test_nothing_judged_is_no_success() -> None:
    """Where every part was left out the exit status is one of its own."""
    assert exit_status(rows_without(ON_CPU, (8,), Skipped("no wrk")), is_cuda_required=False) == 3


def test_the_page_and_json_have_every_row_or_its_reason() -> None:
    """Measured lines are in the table, reasons below it, and JSON has all of them."""
    rows = [
        row(ON_CPU, 400),
        *rows_without(ON_CUDA, (8,), Skipped("no GPU here")),
        *rows_without(TORCH_ON_CUDA, (8, 16), Failed("the worker died")),
        Row(case=TORCH_ON_CUDA, batch_rows=32, found=Failed("too slow")),
    ]
    node = replace(NODE, doctor=(Problem(code="limits", is_error=False, text="few files"),))

    text = page(Plan(), node, rows, ["* a machine"])
    told: Any = facts(Plan(), node, rows, 1)

    assert "| mid | onnx | cpu | 8 | 1,000 | 400 | 0.40 | 2.0 | 3.0 |" in text
    assert "* mid, onnx on cpu: **BELOW**: 40%" in text
    assert "* mid, onnx on cuda: not run: no GPU here" in text
    assert "* mid, torchscript on cuda, batch 8, 16: **FAILED**: the worker died" in text
    assert "* mid, torchscript on cuda, batch 32: **FAILED**: too slow" in text
    assert "NVIDIA H100, 80 GiB" in text
    assert [one["state"] for one in told["rows"]] == ["measured", "skipped", *["failed"] * 3]
    assert told["node"]["torch"]["version"] == "2.13.0"
    assert told["verdicts"][0]["holds"] is False


@pytest.mark.parametrize("size", BATCHES)
def test_a_load_keeps_batches_full(size: int) -> None:
    """As many rows are under way as fill two batches at least."""
    assert connections_for(size) * size >= 2 * MAX_BATCH_ROWS


def test_slow_runs_are_measured_for_longer() -> None:
    """A load has enough runs to count, and an end."""
    assert seconds_for(1.0, 0.001) == 1.0
    assert seconds_for(1.0, 0.1) == pytest.approx(4.0)
    assert seconds_for(1.0, 100.0) == 30.0
