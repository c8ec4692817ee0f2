"""Which calls of which sequences run: promises that hold whatever clients send, and when."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.worker.sequences import Line, Sequences, Step

IDS = (1, 2, "three")
IDLE_NS = 100
SLOTS = 2


@dataclass(eq=False)
class Asked:
    """A call, and what became of it."""

    sequence: int | str
    starts: bool
    ends: bool
    before: "Asked | None"
    """The call of the same id that was accepted before it."""
    fate: str = "waits"
    line: "Line[Asked] | None" = field(default=None, repr=False)


class AnyTraffic(RuleBasedStateMachine):
    """Clients that do anything, calls that end in any way, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.book: Sequences[Asked] = Sequences(max_sequences=SLOTS, idle_ns=IDLE_NS)
        self.now_ns = 1
        self.calls: list[Asked] = []
        self.last: dict[int | str, Asked] = {}

    def follow(self, step: Step[Asked]) -> None:
        """Do what a step says, and judge it."""
        for call, reason in step.refused:
            assert call.fate == "waits"
            assert reason
            call.fate = "refused"
        for call in step.run:
            assert call.fate == "waits"
            call.fate = "runs"
            if not call.starts:
                assert call.before is not None
                assert call.before.fate == "ran"
                assert not call.before.ends

    def of_fate(self, fate: str) -> list[Asked]:
        """The calls that stand so."""
        return [call for call in self.calls if call.fate == fate]

    @rule(sequence=st.sampled_from(IDS), starts=st.booleans(), ends=st.booleans())
    def enter(self, sequence: int | str, *, starts: bool, ends: bool) -> None:
        """A client sends a call."""
        self.follow(self.book.expire(self.now_ns))
        if not self.book.may_enter(sequence, starts=starts):
            return
        call = Asked(sequence, starts, ends, self.last.get(sequence))
        self.calls.append(call)
        self.last[sequence] = call
        call.line, step = self.book.enter(sequence, call, starts=starts, ends=ends)
        call.line.is_routed = True
        self.follow(step)

    @rule(sequence=st.sampled_from(IDS))
    def supersede(self, sequence: int | str) -> None:
        """The id begins anew at another worker: nothing more of it is accepted here."""
        self.follow(self.book.supersede(sequence, "it began anew elsewhere"))
        assert not self.book.may_enter(sequence, starts=False)

    @precondition(lambda self: self.of_fate("runs"))
    @rule(pick=st.integers(0), has_run=st.booleans())
    def complete(self, pick: int, *, has_run: bool) -> None:
        """A call comes back from the model."""
        running = self.of_fate("runs")
        call = running[pick % len(running)]
        call.fate = "ran" if has_run else "lost"
        assert call.line is not None
        lost = "" if has_run else "it failed"
        self.follow(self.book.complete(call.line, self.now_ns, lost=lost))

    @precondition(lambda self: self.of_fate("waits"))
    @rule(pick=st.integers(0))
    def lose(self, pick: int) -> None:
        """A client leaves while its call waits."""
        waiting = self.of_fate("waits")
        call = waiting[pick % len(waiting)]
        call.fate = "lost"
        assert call.line is not None
        self.follow(self.book.lose(call.line, call, "its client left"))

    @rule(passed_ns=st.integers(1, 2 * IDLE_NS))
    def wait(self, passed_ns: int) -> None:
        """Time passes."""
        self.now_ns += passed_ns
        self.follow(self.book.expire(self.now_ns))
        assert not 0 < self.book.next_expiry_ns <= self.now_ns

    @invariant()
    def slots_are_kept(self) -> None:
        """No more sequences run than there are slots, and one call of each at most."""
        running = [call.sequence for call in self.of_fate("runs")]
        assert len(running) == len(set(running)) <= SLOTS

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """What waits has something before it: a running call, or sequences that hold the slots."""
        if self.of_fate("waits") and not self.of_fate("runs"):
            assert self.book.next_expiry_ns

    def teardown(self) -> None:
        """When all calls have come back and all is silent, nothing is left."""
        while self.of_fate("runs") or self.of_fate("waits"):
            for call in self.of_fate("runs"):
                call.fate = "ran"
                assert call.line is not None
                self.follow(self.book.complete(call.line, self.now_ns))
            self.now_ns += IDLE_NS
            self.follow(self.book.expire(self.now_ns))
        self.now_ns += IDLE_NS
        self.follow(self.book.expire(self.now_ns))
        assert self.book.count == 0


TestAnyTraffic = AnyTraffic.TestCase
TestAnyTraffic.settings = settings(stateful_step_count=40)


def test_a_sequence_begins_with_start() -> None:
    """A call of an unknown id may enter only if it starts a sequence."""
    book: Sequences[str] = Sequences(max_sequences=1, idle_ns=IDLE_NS)
    assert not book.may_enter(7, starts=False)
    assert book.may_enter(7, starts=True)
    line, _ = book.enter(7, "first", starts=True, ends=True)
    assert not book.may_enter(7, starts=False)
    book.complete(line, 1)
    ended = book.ended(7)
    assert ended is not None
    assert not ended.is_lost


def test_a_lost_call_ends_its_sequence_and_tells_why() -> None:
    """What waits behind a lost call is refused; a new sequence of the id behind it runs."""
    book: Sequences[str] = Sequences(max_sequences=1, idle_ns=IDLE_NS)
    line, first = book.enter(7, "a", starts=True, ends=False)
    book.enter(7, "b", starts=False, ends=False)
    book.enter(7, "c", starts=True, ends=False)
    assert first.run == ["a"]
    step = book.complete(line, 1, lost="the model failed")
    assert step.refused == [("b", "the model failed")]
    assert step.run == ["c"]


def test_a_silent_sequence_makes_room() -> None:
    """A sequence that waits for a slot gets it when another one has been silent for too long."""
    book: Sequences[str] = Sequences(max_sequences=1, idle_ns=IDLE_NS)
    line, _ = book.enter(1, "a", starts=True, ends=False)
    _, waits = book.enter(2, "b", starts=True, ends=False)
    assert waits.run == []
    book.complete(line, 1)
    assert book.expire(IDLE_NS).run == []
    assert book.expire(IDLE_NS + 1).run == ["b"]
    ended = book.ended(1)
    assert ended is not None
    assert "max_sequence_idle_microseconds" in ended.reason


def test_a_sequence_that_began_by_name_is_not_superseded() -> None:
    """It has nothing in common with those of the same id whose version the edge chose."""
    book: Sequences[str] = Sequences(max_sequences=1, idle_ns=IDLE_NS)
    book.enter(7, "a", starts=True, ends=False)
    assert not book.is_routed(7)
    assert book.supersede(7, "elsewhere") == Step()
    assert book.may_enter(7, starts=False)
