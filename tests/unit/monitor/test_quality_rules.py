"""A data contract's rules over random tensors: what numpy finds is what plain Python finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import ModelLoadError
from serving.monitor.quality.judge import Judge
from serving.monitor.quality.verdict import SHOWN_ROWS, Verdict
from serving.registry.contracts.data_contract import (
    Action,
    Check,
    DataContract,
    MissingKind,
    Rule,
    Scalar,
    Watched,
)
from tests.fakes.plain_contract import broken_rows, missing_count

FLOATS = (Datatype.FP16, Datatype.FP32, Datatype.FP64)
WHOLES = (Datatype.UINT8, Datatype.INT8, Datatype.INT32, Datatype.INT64, Datatype.UINT64)
SHAPES = st.tuples(st.integers(1, 15), st.integers(0, 4))
# Multiples of a quarter, so that every float datatype stores them exactly.
QUARTERS = st.integers(-64, 64).map(lambda n: n / 4)
FLOAT_VALUES = st.one_of(QUARTERS, st.sampled_from([np.nan, np.inf, -np.inf]))
TEXTS = st.text(st.sampled_from("abé €"), max_size=4)


def rules_of(limits: dict[Check, object]) -> tuple[Rule, ...]:
    """One rule for each check."""
    found = []
    for check, given_limit in limits.items():
        if isinstance(given_limit, tuple):
            found.append(Rule(id=f"x.{check}", check=check, allowed=given_limit))
        else:
            limit = given_limit if isinstance(given_limit, int | float) else 0
            found.append(Rule(id=f"x.{check}", check=check, limit=limit))
    return tuple(found)


def judged(watched: Watched, datatype: Datatype, array: Array) -> Verdict | None:
    """The verdict on one tensor."""
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1, -1))
    judge = Judge(DataContract(inputs=(watched,)), [spec], [], is_batched=True)
    return judge.judge_inputs([array], len(array), None, 0.0)


def agrees(watched: Watched, datatype: Datatype, array: Array) -> None:
    """Compare the two."""
    verdict = judged(watched, datatype, array) or Verdict()
    found = {one.rule.check: one for one in verdict.violations}
    broken: set[int] = set()
    for rule in watched.rules:
        rows = broken_rows(watched, rule, array)
        broken.update(rows)
        one = found.pop(rule.check, None)
        assert (
            (list(one.rows), one.row_count) == (rows[:SHOWN_ROWS], len(rows)) if one else not rows
        )
    assert not found
    assert verdict.violating_row_count == len(broken)
    if array.size and watched.column is None:
        nulls = {MissingKind.NAN, MissingKind.TOKEN}
        counted = sum(one.count for one in verdict.missing if one.kind in nulls)
        assert counted == missing_count(watched, array)


@st.composite
def watched_numbers(
    draw: st.DrawFn, values: st.SearchStrategy[int] | st.SearchStrategy[float], *, is_float: bool
) -> Watched:
    """Any rules about numbers."""
    limits: dict[Check, object] = {}
    for check in (Check.MIN, Check.MAX):
        if draw(st.booleans()):
            limits[check] = draw(values)
    if draw(st.booleans()):
        limits[Check.ALLOWED] = tuple(draw(st.lists(values, min_size=1, max_size=8)))
    asked = [Check.NULL, Check.NOT_CONSTANT, *([Check.FINITE] if is_float else [])]
    limits |= dict.fromkeys(draw(st.sets(st.sampled_from(asked))), 0)
    tokens: tuple[Scalar, ...] = tuple(draw(st.lists(values, max_size=2)))
    return Watched(name="x", tensor="x", rules=rules_of(limits), null_tokens=tokens)


@given(st.data(), st.sampled_from(FLOATS), SHAPES)
def test_rules_about_floats(
    data: st.DataObject, datatype: Datatype, shape: tuple[int, int]
) -> None:
    """Bounds, levels, missing and infinite values, constant rows: in every combination."""
    watched = data.draw(watched_numbers(QUARTERS, is_float=True))
    count = shape[0] * shape[1]
    values = data.draw(st.lists(FLOAT_VALUES, min_size=count, max_size=count))

    agrees(watched, datatype, np.array(values, DTYPES[datatype]).reshape(shape))


@given(st.data(), st.sampled_from(WHOLES), SHAPES)
def test_rules_about_whole_numbers(
    data: st.DataObject, datatype: Datatype, shape: tuple[int, int]
) -> None:
    """Also with limits and levels that the datatype cannot hold."""
    info = np.iinfo(DTYPES[datatype])
    values = st.integers(int(info.min), int(info.max)) | st.integers(0, 5)
    watched = data.draw(watched_numbers(values | st.integers(-300, 2**64 - 1), is_float=False))
    count = shape[0] * shape[1]
    elements = data.draw(st.lists(values, min_size=count, max_size=count))

    agrees(watched, datatype, np.array(elements, DTYPES[datatype]).reshape(shape))


@given(st.data(), SHAPES)
def test_rules_about_texts(data: st.DataObject, shape: tuple[int, int]) -> None:
    """Lengths in characters, levels, tokens that stand for no value."""
    limits: dict[Check, object] = {
        Check.MIN_LEN: data.draw(st.integers(0, 3)),
        Check.MAX_LEN: data.draw(st.integers(0, 5)),
        Check.ALLOWED: tuple(data.draw(st.lists(TEXTS, min_size=1, max_size=6))),
        Check.NULL: 0,
    }
    kept = data.draw(st.sets(st.sampled_from(sorted(limits))))
    tokens: tuple[Scalar, ...] = tuple(data.draw(st.lists(TEXTS, max_size=2)))
    rules = rules_of({check: limit for check, limit in limits.items() if check in kept})
    count = shape[0] * shape[1]
    array = np.empty(count, object)
    array[:] = data.draw(st.lists(TEXTS, min_size=count, max_size=count))

    agrees(
        Watched(name="x", tensor="x", rules=rules, null_tokens=tokens),
        Datatype.BYTES,
        array.reshape(shape),
    )


@given(st.data(), SHAPES, st.integers(0, 3))
def test_a_feature_is_one_column(data: st.DataObject, shape: tuple[int, int], column: int) -> None:
    """Its rules look at nothing else of the tensor."""
    count = shape[0] * shape[1]
    values = data.draw(st.lists(FLOAT_VALUES, min_size=count, max_size=count))
    array = np.array(values, np.float32).reshape(shape)
    rules = rules_of({Check.MIN: -4.0, Check.MAX: 4.0, Check.NULL: 0})

    agrees(Watched(name="f", tensor="x", column=column, rules=rules), Datatype.FP32, array)


@given(st.data(), st.sampled_from((*FLOATS, Datatype.INT32, Datatype.INT64)), st.integers(1, 6))
def test_features_of_one_matrix(data: st.DataObject, datatype: Datatype, rows: int) -> None:
    """Each column has its bounds; all of them together find what each finds alone."""
    is_float = datatype in FLOATS
    values = FLOAT_VALUES if is_float else st.integers(-64, 64)
    limits = QUARTERS if is_float else st.integers(-64, 64)
    elements = data.draw(st.lists(values, min_size=rows * 4, max_size=rows * 4))
    array = np.array(elements, DTYPES[datatype]).reshape(rows, 4)
    columns = data.draw(st.lists(st.none() | st.integers(0, 3), max_size=5))
    watched = tuple(
        Watched(
            name=f"f{place}",
            tensor="x",
            column=column,
            rules=rules_of({Check.MIN: data.draw(limits), Check.MAX: data.draw(limits)}),
        )
        for place, column in enumerate(columns)
    )
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1, 4))
    judge = Judge(DataContract(inputs=watched), [spec], [], is_batched=True)

    verdict = judge.judge_inputs([array], rows, None, 0.0) or Verdict()

    found = {(one.name, one.rule.check): list(one.rows) for one in verdict.violations}
    expected = {
        (one.name, rule.check): broken
        for one in watched
        for rule in one.rules
        if (broken := broken_rows(one, rule, array))
    }
    assert found == expected
    assert verdict.violating_row_count == len({row for rows in expected.values() for row in rows})


@given(st.lists(st.lists(QUARTERS, min_size=3, max_size=3), min_size=1, max_size=9), QUARTERS)
def test_sums(rows: list[list[float]], limit: float) -> None:
    """A row's values come to what the contract says, within its tolerance."""
    rule = Rule(id="x.sum_to", check=Check.SUM_TO, limit=limit, tolerance=0.5)

    agrees(Watched(name="x", tensor="x", rules=(rule,)), Datatype.FP32, np.array(rows, np.float32))


def test_a_limit_is_rounded_as_values_are() -> None:
    """The FP32 that is written 0.1 is not above 0.1, although it is larger as a double."""
    watched = Watched(name="x", tensor="x", rules=rules_of({Check.MAX: 0.1}))

    assert judged(watched, Datatype.FP32, np.full((1, 1), 0.1, np.float32)) is None
    assert judged(watched, Datatype.FP32, np.full((1, 1), 0.1000001, np.float32)) is not None


HALVES = (Datatype.FP16, Datatype.BF16)


@given(st.sampled_from((*HALVES, *FLOATS)), st.floats(-60000, 60000, allow_nan=False))
def test_a_value_at_its_limit_breaks_nothing(datatype: Datatype, limit: float) -> None:
    """Whatever is lost when the tensor stores what the contract writes as a decimal."""
    for check in (Check.MIN, Check.MAX, Check.ALLOWED):
        told: object = (limit,) if check is Check.ALLOWED else limit
        watched = Watched(name="x", tensor="x", rules=rules_of({check: told}))

        assert judged(watched, datatype, np.full((2, 1), limit, DTYPES[datatype])) is None


@given(st.sampled_from(HALVES), st.floats(0.001, 1000), st.sampled_from((-1, 1)))
def test_the_next_value_beyond_a_limit_breaks_it(
    datatype: Datatype, size: float, sign: int
) -> None:
    """Rounding a limit does not widen it by more than its own rounding."""
    stored = np.full((1, 1), sign * size, DTYPES[datatype])
    beyond = np.nextafter(stored, np.full_like(stored, sign * np.inf))
    check = Check.MAX if sign > 0 else Check.MIN
    watched = Watched(name="x", tensor="x", rules=rules_of({check: sign * size}))

    assert judged(watched, datatype, beyond) is not None


def test_a_half_is_a_token_as_it_is_stored() -> None:
    """A token that no half stores exactly stands for no value all the same."""
    watched = Watched(name="x", tensor="x", rules=rules_of({Check.NULL: 0}), null_tokens=(0.1,))
    for datatype in HALVES:
        verdict = judged(watched, datatype, np.full((1, 1), 0.1, DTYPES[datatype])) or Verdict()

        assert [one.kind for one in verdict.missing] == [MissingKind.TOKEN]


def test_infinity_is_beyond_a_limit_that_no_half_stores() -> None:
    """And the largest half is within it."""
    limits = rules_of({Check.MAX: 1e6, Check.ALLOWED: (1e6, 65504)})
    watched = Watched(name="x", tensor="x", rules=limits)

    assert judged(watched, Datatype.FP16, np.full((1, 1), 65504, np.float16)) is None
    verdict = judged(watched, Datatype.FP16, np.full((1, 1), np.inf, np.float16)) or Verdict()
    assert {one.rule.check for one in verdict.violations} == {Check.MAX, Check.ALLOWED}


def test_a_draft_only_counts() -> None:
    """Whatever its rules say."""
    rule = Rule(id="x.max", check=Check.MAX, action=Action.REJECT, limit=1)
    contract = DataContract(is_draft=True, inputs=(Watched(name="x", tensor="x", rules=(rule,)),))
    judge = Judge(
        contract, [TensorSpec(name="x", datatype=Datatype.INT8, shape=(-1, 1))], [], is_batched=True
    )

    verdict = judge.judge_inputs([np.full((1, 1), 2, np.int8)], 1, None, 0.0)

    assert verdict is not None
    assert [one.action for one in verdict.violations] == [Action.COUNT]


def test_a_contract_for_other_tensors_is_refused() -> None:
    """When it is compiled, with the code that preflight has for it."""
    contract = DataContract(inputs=(Watched(name="z", tensor="z"),))

    with pytest.raises(ModelLoadError, match="BP-D01 contract: z: the model has no input 'z'"):
        Judge(
            contract,
            [TensorSpec(name="x", datatype=Datatype.INT8, shape=(-1, 1))],
            [],
            is_batched=True,
        )
