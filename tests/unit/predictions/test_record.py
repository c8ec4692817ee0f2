"""What callers write into a call never keeps records of the log from being read."""

from math import inf
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.cli.prediction_log import list_log
from serving.predictions.labels.book import LabelBook
from serving.predictions.labels.joining import Wanted
from serving.predictions.reading import Filter, PredictionReader
from serving.predictions.record import (
    PREDICTION,
    Prediction,
    TensorHead,
    as_written,
    encode_prediction,
    encode_source,
    read_predictions,
    read_tensor,
)
from serving.predictions.segment import encode_frame
from serving.wire.parameters import Scalar
from tests.fakes.labelled_log import LabelledLog, scores_spec

ANY_TEXT = st.text(st.characters(codec=None), max_size=20)
TEXTS = st.text(max_size=20)
NUMBERS = st.integers() | st.integers(10**400, 10**401) | st.floats()


def parameters(texts: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Scalar]]:
    """What a caller may send."""
    return st.dictionaries(texts, st.booleans() | NUMBERS | texts, max_size=5)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Prediction:
    """A record without parameters."""
    log = LabelledLog(tmp_path_factory.mktemp("log"), [scores_spec(2)])
    log.log({"p": np.asarray([[0.8, 0.2]])})
    (segment,) = log.folder.glob("*.seg")
    (found,) = read_predictions(segment.read_bytes(), segment.name)
    return found


def said(logged: Prediction, given: dict[str, Scalar] | None, request_id: str = "") -> Prediction:
    """Write a record whose caller said this, with others around it; return it as it is read."""
    head = msgspec.structs.replace(logged.head, parameters=given, request_id=request_id)
    one, other = (encode_prediction(each, [logged.tail]) for each in (head, logged.head))
    frames = encode_source(logged.source) + other + one + other
    before, found, after = read_predictions(b"".join(frames), "test")
    assert before.head == after.head == logged.head
    return found


@given(given_parameters=parameters(TEXTS), request_id=TEXTS)
def test_parameters_are_read_as_they_came(
    logged: Prediction, given_parameters: dict[str, Scalar], request_id: str
) -> None:
    """NaN, infinities, and integers of any size among them."""
    found = said(logged, given_parameters, request_id).head

    # By their words: NaN equals nothing.
    assert repr(sorted((found.parameters or {}).items())) == repr(sorted(given_parameters.items()))
    assert found.request_id == request_id


@given(given_parameters=parameters(ANY_TEXT), request_id=ANY_TEXT)
def test_no_text_makes_a_record_unreadable(
    logged: Prediction, given_parameters: dict[str, Scalar], request_id: str
) -> None:
    """What is no Unicode is replaced, and costs neither its record nor those beside it."""
    assert said(logged, given_parameters, request_id).tail == logged.tail


def test_null_of_an_older_log_is_read(logged: Prediction) -> None:
    """It was written for every number that is not finite."""
    text = msgspec.json.encode(msgspec.structs.replace(logged.head, parameters={"a": inf, "b": 1}))
    frames = encode_source(logged.source) + encode_frame(PREDICTION, text, [logged.tail])

    (found,) = read_predictions(b"".join(frames), "test")

    assert str(found.head.parameters) == "{'a': nan, 'b': 1}"


def test_json_has_all_of_a_head(logged: Prediction) -> None:
    """Numbers that JSON does not have are told by their names."""
    head = msgspec.structs.replace(logged.head, parameters={"a": -inf, "b": 1})

    written = msgspec.to_builtins(as_written(head))

    assert written["parameters"] == {"b": 1}
    assert written["not_finite"] == {"a": "-inf"}
    assert "not_finite" not in msgspec.to_builtins(as_written(logged.head))


@pytest.mark.parametrize("shape", [(0, 2**62), (0, 2**70)])
@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.BYTES])
def test_a_shape_that_no_array_has_is_told(shape: tuple[int, ...], datatype: Datatype) -> None:
    """An empty tensor takes no bytes, whatever its other dimensions say."""
    with pytest.raises(InvalidArgumentError):
        read_tensor(TensorHead("x", datatype, shape, 0), memoryview(b""))


def test_a_record_that_cannot_be_understood_hides_no_other(
    logged: Prediction, tmp_path: Path
) -> None:
    """The reader goes on after one that is whole, and says what it has left out."""
    whole = encode_prediction(logged.head, [logged.tail])
    strange = encode_frame(PREDICTION, b'{"id":null}') + encode_frame(PREDICTION, b"{")
    segment = tmp_path / "1780000000000-w-1-1.seg"
    segment.write_bytes(b"".join(encode_source(logged.source) + whole + strange + whole))
    reader = PredictionReader(str(tmp_path))

    found = [*reader.newest(Filter()), *reader.oldest(Filter()), *reader.with_company(Filter())]

    assert len(found) == 6
    assert list(reader.left_out) == [segment.name]
    assert f"2 records left out: {segment.name}: the record that" in reader.left_out[segment.name]
    assert reader.find(logged.head.id) is not None


def test_what_a_disk_has_damaged_hides_no_other_record_and_is_told(
    logged: Prediction, tmp_path: Path
) -> None:
    """One flipped bit costs the record that it is in, and nobody takes the rest for all."""
    source = b"".join(encode_source(logged.source))
    whole = b"".join(encode_prediction(logged.head, [logged.tail]))
    spoilt = bytearray(source + 3 * whole)
    spoilt[len(source) + len(whole) + len(whole) // 2] ^= 4
    segment = tmp_path / "1780000000000-w-1-1.seg"
    segment.write_bytes(spoilt)
    reader = PredictionReader(str(tmp_path))

    found = list(reader.oldest(Filter()))

    first, second = len(source) + len(whole), len(source) + 2 * len(whole)
    assert len(found) == 2
    assert f"bytes {first} to {second} are not what was" in reader.left_out[segment.name]


def test_what_was_left_out_is_told_on_stderr(
    logged: Prediction, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What programs read on stdout stays JSON."""
    frames = encode_source(logged.source) + encode_frame(PREDICTION, b"{}")
    (tmp_path / "1780000000000-w-1-1.seg").write_bytes(b"".join(frames))

    list_log(place=str(tmp_path), as_json=True)

    told = capsys.readouterr()
    assert told.out == "[]\n"
    assert "1 records left out: 1780000000000-w-1-1.seg" in told.err


def test_elements_that_are_no_text_hide_nothing(tmp_path: Path) -> None:
    """What a model answers is kept as it is: the others are texts, and it stays bytes."""
    spec = TensorSpec(name="word", datatype=Datatype.BYTES, shape=(-1, 1))
    log = LabelledLog(tmp_path, [spec])
    named = log.log({"word": np.array([["cat"], [b"\xff"]], dtype=object)})
    log.label(named, "cat")
    book = LabelBook(str(tmp_path))
    (found,) = book.predictions.newest(Filter())
    array = found.tensor("word", is_output=True)
    status = book.status(Wanted(predictions=Filter(model="m")), log.now_s)

    assert array is not None
    assert array.tolist() == [["cat"], [b"\xff"]]
    assert [one.labelled_rows for one in status.versions] == [1]
