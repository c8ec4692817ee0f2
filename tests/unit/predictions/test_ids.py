"""Names of predictions."""

import uuid

import pytest

from runtimes.errors import InvalidArgumentError
from serving.predictions.ids import PredictionIds, first_id, is_prediction_id, made_ms


def test_ids_are_uuids_in_order_of_time() -> None:
    """Each is a UUID of version 7 that says when it was made; all differ, in order."""
    times = iter([1_700_000_000_000_000_000] * 100 + [1_700_000_000_001_000_000] * 100)
    ids = PredictionIds(lambda: next(times))
    made = [ids.make() for _ in range(200)]

    assert made == sorted(set(made))
    assert {uuid.UUID(text).version for text in made} == {7}
    assert {uuid.UUID(text).variant for text in made} == {uuid.RFC_4122}
    assert [made_ms(text) for text in (made[0], made[-1])] == [1_700_000_000_000, 1_700_000_000_001]


def test_ids_of_a_millisecond_are_in_order_whatever_came_before() -> None:
    """However many those of the millisecond before were: 4,096 of one are in order."""
    times = iter([1_000_000] * 4090 + [2_000_000] * 4096)
    ids = PredictionIds(lambda: next(times))
    made = [ids.make() for _ in range(4090 + 4096)]

    assert made == sorted(set(made))


@pytest.mark.parametrize("text", ["", "resnet:3", "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "0" * 32])
def test_other_texts_are_none(text: str) -> None:
    """What is no such UUID is refused by name."""
    assert not is_prediction_id(text)
    with pytest.raises(InvalidArgumentError, match="no prediction's id"):
        made_ms(text)


def test_ids_compare_with_moments_as_texts() -> None:
    """Those of a millisecond lie between its first one and the next one's."""
    made = [PredictionIds(lambda at=at: at * 1_000_000).make() for at in (0, 9, 1_780_000_000_123)]

    for named in made:
        at_ms = made_ms(named)
        assert first_id(at_ms) <= named < first_id(at_ms + 0.5) == first_id(at_ms + 1)
        assert first_id(-1.0) <= named < first_id(float("inf"))
