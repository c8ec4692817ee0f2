"""The ONNX project's own test cases, served: a few that show every kind of tensor and refusal.

All of them are asked by `python -m benchmarks.onnx_conformance`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.instance import running_instance
from benchmarks.onnx_conformance.cases import SLOW, Case, read_cases
from benchmarks.onnx_conformance.repository import as_listed, write_repository
from benchmarks.onnx_conformance.run import Score, has_settled, judge, repository_index
from benchmarks.onnx_conformance.sample import sample
from benchmarks.onnx_conformance.transports import GRPC, HTTP_BINARY, HTTP_JSON, transports
from benchmarks.onnx_conformance.verdict import ask_engine
from runtimes.datatypes import Datatype


@pytest.fixture(name="cases", scope="module")
def some_cases() -> list[Case]:
    """Cases of every kind."""
    return sample(read_cases(without=SLOW)[0])


@pytest.fixture(name="score", scope="module", params=[False, True], ids=["bare", "listed"])
def scored(
    cases: list[Case], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Score]:
    """What one server answered that serves all cases; their tensors are in config.pbtxt or not."""
    folder: Path = tmp_path_factory.mktemp("cases") / "m"
    write_repository(folder, cases, lists_tensors=request.param)
    verdicts = {case.name: ask_engine(case) for case in cases}
    sent = [as_listed(case) for case in cases] if request.param else cases
    with (
        running_instance(folder, has_started=has_settled(cases)) as instance,
        transports(instance.http, instance.grpc) as asks,
    ):
        yield judge(sent, verdicts, asks, repository_index(instance.http))


def test_every_answer_is_the_references(score: Score) -> None:
    """Over each transport every case gives the outputs that the ONNX project expects."""
    assert score.failures == []
    assert score.passed.keys() == {HTTP_BINARY, HTTP_JSON, GRPC}


def test_the_server_adds_no_arithmetic(score: Score) -> None:
    """What is answered is the bare engine's answer, bit for bit."""
    assert score.exact == score.passed.total()


def test_what_the_engine_cannot_load_is_refused(score: Score) -> None:
    """A model that needs a newer engine is refused with the reason, and the others go on."""
    assert score.refused > 0


def test_the_cases_show_every_datatype(cases: list[Case]) -> None:
    """Every datatype of the protocol comes in and goes out."""
    assert {tensor.datatype for case in cases for tensor in case.inputs} == set(Datatype)
    assert {tensor.datatype for case in cases for tensor in case.outputs} == set(Datatype)
