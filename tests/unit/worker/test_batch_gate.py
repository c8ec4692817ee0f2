"""A batch's calls are judged together; what each is told, and what is counted, is as if alone."""

from collections.abc import Sequence

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from runtimes.contract import Array
from runtimes.errors import BasculeError
from serving.ids import VersionKey
from serving.monitor.quality.judge import Judge
from serving.monitor.quality.recorder import QualityRecorder
from serving.registry.contracts.contract_file import parse_contract
from serving.worker.batch_gate import BatchGate, batch_gate_for
from serving.worker.executor import Ran, VersionRunner
from serving.worker.quality_gate import QualityGate
from serving.worker.recorder import FIRST_THREAD_SLOT, FlightRecorder
from serving.worker.stacking import Stacker
from tests.fakes.batching import DoublingModel, HeldCall, X, Y

KEY = VersionKey("m", 1)
VALUES = st.one_of(
    st.sampled_from([-1.0, 0.0, 1.0, 10.0, 50.0, 60.0, 100.0, float("nan")]),
    st.floats(-200, 200, width=32),
)
CONTRACTS = st.sampled_from(
    [
        "inputs: {x: {max: 50, on_violation: reject}}",
        "inputs: {x: {min: 0, max: 50, on_violation: flag}}",
        "inputs: {x: {min: 0, on_violation: count}}\noutputs: {y: {max: 60, on_violation: flag}}",
        "inputs: {x: {max: 55}}\noutputs: {y: {finite: true, max: 100, on_violation: reject}}",
    ]
)


class ClientsCall(HeldCall):
    """A call that a client waits for, as an exchange is one."""

    is_judged = True

    def __init__(self, gate: QualityGate, values: Sequence[float]) -> None:
        super().__init__(*values)
        self.gate = gate

    def finish(self, outputs: Sequence[Array]) -> bool:
        """Ask the gate, unless the batch passed."""
        try:
            if not self.gate.is_passing:
                self.call = self.gate.pass_on(self.call, outputs)
        except BasculeError as error:
            self.fail(error)
            return False
        return super().finish(outputs)


class Copy(ClientsCall):
    """A copy of another version's call: no client asked."""

    is_judged = False
    is_copy = True


def gate_of(text: str) -> QualityGate:
    """Build a gate, with counters of its own."""
    contract = parse_contract(f"contract: 1\n{text}\n".encode())
    judge = Judge(contract, [X], [Y], is_batched=True)
    return QualityGate(KEY, judge, QualityRecorder(contract), [X], lambda: 1_000.0)


def run_of(batch: Sequence[HeldCall], screen: BatchGate | None) -> list[Ran]:
    """Run a batch in one go."""
    runner = VersionRunner(
        DoublingModel(),
        Stacker((X,), (Y,), max_batch_rows=64),
        FlightRecorder(None).note(KEY),
        iter(range(10_000)).__next__,
        screen=screen,
    )
    return runner.run(batch, sum(item.rows for item in batch), FIRST_THREAD_SLOT)


def together(gate: QualityGate, batch: Sequence[HeldCall]) -> None:
    """Have a batch judged, run and finished as a batcher does it."""
    screen = batch_gate_for(gate)
    assert screen is not None
    for part in run_of(batch, screen):
        if part.error is None:
            screen.finishing(part)
            for item, outputs in zip(part.batch, part.outputs, strict=True):
                item.finish(outputs)
        else:
            for item in part.batch:
                item.fail(part.error)
        screen.count(part)


def alone(gate: QualityGate, item: HeldCall) -> None:
    """Have one call judged before it runs."""
    try:
        if item.is_judged:
            item.call = gate.admit(item.call)
    except BasculeError as error:
        item.fail(error)
        return
    (part,) = run_of([item], None)
    if part.error is None:
        item.finish(part.outputs[0])
    else:
        item.fail(part.error)


def seen(item: HeldCall) -> tuple[object, ...]:
    """Return what a caller sees."""
    result = None if item.result is None else np.array(item.result).tobytes()
    return (item.answer_count, result, str(item.error or ""), item.call.flags)


@given(CONTRACTS, st.lists(st.lists(VALUES, min_size=1, max_size=3), min_size=1, max_size=6))
def test_a_batch_is_judged_as_its_calls_are(text: str, asked: list[list[float]]) -> None:
    """Answers, refusals, flags and counters; a model that fails on one call changes nothing."""
    one, other = gate_of(text), gate_of(text)
    batch = [ClientsCall(one, values) for values in asked]
    single = [ClientsCall(other, values) for values in asked]

    together(one, batch)
    for item in single:
        alone(other, item)

    assert [seen(item) for item in batch] == [seen(item) for item in single]
    assert str(one.report()) == str(other.report())  # with NaN, which equals nothing


@given(CONTRACTS, st.lists(st.tuples(st.booleans(), VALUES), min_size=1, max_size=8))
def test_copies_among_clients_calls_are_not_counted(
    text: str, asked: list[tuple[bool, float]]
) -> None:
    """Any number of them, anywhere, all or none: counters are as if they had not been there."""
    one, other = gate_of(text), gate_of(text)
    kinds = {True: Copy, False: ClientsCall}

    together(one, [kinds[is_copy](one, [value]) for is_copy, value in asked])
    for is_copy, value in asked:
        if not is_copy:
            alone(other, ClientsCall(other, [value]))

    counted, expected = one.recorder.counts(), other.recorder.counts()
    assert counted.judged_count == expected.judged_count
    assert counted.refused_count == expected.refused_count
    assert one.report().row_count == other.report().row_count
    assert one.report().window.row_count == other.report().window.row_count


def test_nobody_is_refused_for_a_copy() -> None:
    """What a candidate gets to compare is neither judged nor counted."""
    gate = gate_of("inputs: {x: {max: 50, on_violation: reject}}")
    clients, copied = ClientsCall(gate, [1.0]), Copy(gate, [60.0])

    together(gate, [clients, copied])

    assert (clients.result, copied.result) == ([2.0], [120.0])
    assert (gate.report().request_count, gate.report().rejected_request_count) == (1, 0)


def test_what_bounds_do_not_settle_is_judged_before_it_waits() -> None:
    """Allowed values are no bounds."""
    assert batch_gate_for(gate_of("inputs: {x: {allowed: [1, 2]}}")) is None
    assert batch_gate_for(None) is None


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), min_size=1, max_size=30))
@example([(2, False), (0, False)])
def test_the_window_counts_requests_that_passed_as_others(
    asked: list[tuple[int, bool]],
) -> None:
    """Whenever they come, a clock that is set back among these times."""
    passed, others = gate_of("inputs: {x: {max: 50}}").recorder, gate_of("inputs: {}").recorder
    for now_s, is_pair in asked:
        rows = 3 if is_pair else 1
        passed.pass_requests(1, rows, float(now_s) * 600)
        others.count_request(rows, None, "", float(now_s) * 600)

    for now_s in (0.0, 60_000.0, 120_000.0):
        assert passed.report(now_s).window.row_count == others.report(now_s).window.row_count
