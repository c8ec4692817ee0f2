"""The parts of the load test that need no server: sizes, right answers, and the file."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.cli.load.ledger import Entry, Ledger, Outcome, heading, read_ledger, write_ledger
from serving.cli.load.question import Question, sized_tensors
from serving.cli.load.summary import summary
from serving.cli.load.truth import Steps, Truth
from serving.cli.main import main
from serving.cli.predict_http import Prediction
from serving.cli.predict_tensors import NamedTensor
from serving.errors import NotFoundError


def outputs(*values: float) -> tuple[NamedTensor, ...]:
    """The outputs of one answer."""
    return (NamedTensor(name="y", datatype=Datatype.FP32, array=np.array(values, np.float32)),)


def answer(version: str, *values: float) -> Prediction:
    """An answer of a version."""
    return Prediction(model="m", version=version, outputs=outputs(*values))


def entry(outcome: Outcome = Outcome.RIGHT, took_s: float = 1.0, error: str = "") -> Entry:
    """A request."""
    return Entry(
        transport="http",
        began_s=1.0,
        sent_s=1.0,
        answered_s=1.0 + took_s,
        version="1",
        outcome=outcome,
        error=error,
    )


@pytest.mark.parametrize(
    ("dims", "size_bytes", "shape"),
    [
        ((-1, 16), 640, (10, 16)),
        ((-1, -1), 1_000_000, (1, 250_000)),
        ((-1, 16), 0, (1, 16)),
        ((-1, 16), 1, (1, 16)),
        ((2, -1, 4), 320, (2, 10, 4)),
    ],
    ids=["rows", "columns", "smallest", "never-empty", "middle"],
)
def test_inputs_have_the_wanted_size(
    dims: tuple[int, ...], size_bytes: int, shape: tuple[int, ...]
) -> None:
    """The last free dimension grows until the tensors have about the size."""
    spec = TensorSpec(name="x", datatype=Datatype.FP32, shape=dims)

    tensors = sized_tensors([spec], size_bytes)

    assert tensors[0].array.shape == shape


def test_fixed_inputs_have_one_size() -> None:
    """A size for a model without a free dimension is refused, with the size that it has."""
    spec = TensorSpec(name="x", datatype=Datatype.FP32, shape=(2, 3))

    with pytest.raises(InvalidArgumentError, match="24 bytes"):
        sized_tensors([spec], 1000)


def judged(truth: Truth, *replies: Prediction) -> list[Outcome]:
    """What becomes of answers."""

    async def each() -> list[Outcome]:
        return [(await truth.judged(reply, 0)).outcome for reply in replies]

    return asyncio.run(each())


def test_a_version_is_asked_for_its_answer_once() -> None:
    """A version's first answer makes it be asked by its number; later ones are compared."""
    asked: list[str] = []

    async def learn(version: str) -> Steps:
        asked.append(version)
        return (outputs(float(version)),)

    found = judged(Truth(learn), answer("1", 1), answer("2", 1), answer("2", 2.0000001))

    assert asked == ["1", "2"]
    assert found == [Outcome.RIGHT, Outcome.WRONG, Outcome.RIGHT]


def test_an_answer_that_cannot_be_compared_is_not_right() -> None:
    """A version that cannot be asked any more leaves its answers unchecked."""

    async def learn(version: str) -> Steps:
        raise NotFoundError(f"version {version} is gone")

    assert judged(Truth(learn), answer("1", 1)) == [Outcome.UNCHECKED]


@pytest.mark.parametrize(
    ("reply", "is_right"),
    [
        (answer("1", 1, float("nan")), True),
        (answer("1", 1), False),
        (Prediction(model="m", version="1", outputs=()), False),
    ],
    ids=["nan", "shape", "missing"],
)
def test_answers_are_compared_whole(reply: Prediction, *, is_right: bool) -> None:
    """Names, shapes and values are compared; what is no number equals itself."""

    async def learn(_: str) -> Steps:
        return (outputs(1, float("nan")),)

    assert (judged(Truth(learn), reply) == [Outcome.RIGHT]) is is_right


def test_a_question_knows_its_size() -> None:
    """The size of the inputs is that on the wire."""
    assert Question(model="m", tensors=outputs(1, 2, 3)).body_bytes() == 12


def test_a_ledger_is_read_back(tmp_path: Path) -> None:
    """Every request and the heading survive the file."""
    path = tmp_path / "l.jsonl"
    head = heading("m", 7.0)
    entries = [entry(), entry(Outcome.FAILED, error="503: full")]

    write_ledger(path, head, entries)

    assert (read_ledger(path)[0], read_ledger(path)[1].entries) == (head, entries)


def test_a_summary_counts_every_request() -> None:
    """Nothing that was sent is missing from the figures."""
    ledger = Ledger()
    for one in (entry(), entry(took_s=3.0), entry(Outcome.FAILED, error="503: full")):
        ledger.add(one)

    found = summary(ledger)

    assert (found.sent_count, found.right_count, found.failed_count) == (3, 2, 1)
    assert found.faults == {"503: full": 1}
    assert (found.latencies[0].count, found.latencies[0].max_s) == (2, 3.0)
    assert not found.is_clean()


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("outcome", "status"), [(Outcome.RIGHT, 0), (Outcome.WRONG, 1)], ids=["clean", "wrong"]
)
def test_the_exit_status_says_whether_all_is_right(
    outcome: Outcome, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ledger that is judged again ends as its run did."""
    write_ledger(tmp_path / "l", heading("m", 0.0), [entry(outcome)])

    assert run("loadtest", "--check", str(tmp_path / "l"), "--json") == status
    assert json.loads(capsys.readouterr().out)["summary"]["sent_count"] == 1


def test_a_stale_answer_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With flips, an answer by a version that was not live makes the exit status 1."""
    write_ledger(tmp_path / "l", heading("m", 0.0), [entry()])
    (tmp_path / "f").write_text(
        '{"from_version": "1", "to_version": "2", "began_s": 0.1, "done_s": 0.5}'
    )

    assert run("loadtest", "--check", str(tmp_path / "l"), "--flips", str(tmp_path / "f")) == 1
    assert "1 stale" in capsys.readouterr().out
