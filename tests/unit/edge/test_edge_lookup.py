"""What a question about a model finds, and the words when it finds nothing."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.edge import lookup, snapshot_file
from serving.edge.control import Snapshot, VersionRecord
from serving.edge.routes import LiveRoute, RouteTable, VersionRoute, WorkerAddress
from serving.edge.snapshot_file import Remembered
from serving.ids import VersionKey
from serving.monitor.statistics import VersionStatistics
from serving.registry.version import ServedVersion, VersionState

SERVED = ServedVersion(
    platform="onnxruntime_onnx",
    backend="onnxruntime",
    inputs=(),
    outputs=(),
    max_batch_rows=0,
    device="cpu",
    threads=1,
    load_s=0.1,
    run_s=0.001,
)


def record(model: str, version: int, state: VersionState) -> VersionRecord:
    """A version in a state."""
    served = SERVED if state is VersionState.READY else None
    return VersionRecord(model=model, version=version, state=state, served=served)


RECORDS = (
    record("m", 1, VersionState.READY),
    record("m", 2, VersionState.LOADING),
    record("m", 10, VersionState.READY),
    record("gone", 1, VersionState.UNAVAILABLE),
)
SNAPSHOT = Snapshot(
    routes=RouteTable(
        revision=4,
        pools={"p": (WorkerAddress("p-0", "n", "/run/p-0.sock"),)},
        versions={VersionKey("m", 1): VersionRoute("p"), VersionKey("m", 2): VersionRoute(None)},
        live={"m": LiveRoute(10), "gone": LiveRoute(None)},
    ),
    versions={item.key: item for item in RECORDS},
    known_models=frozenset({"m", "gone", "never"}),
    ready=True,
)


@pytest.mark.parametrize(
    ("waited_for", "named"),
    [
        ((), ""),
        (
            (VersionKey("m", 1), VersionKey("m", 2), VersionKey("zz", 0)),
            ": m:1 is served in its former form only, m:2 is LOADING, zz is LOADING",
        ),
        (
            tuple(VersionKey("gone", 1) for _ in range(5)),
            f": {', '.join(['gone:1 is UNAVAILABLE'] * 3)}, and 2 more",
        ),
    ],
    ids=["nothing", "states", "many"],
)
def test_a_few_of_what_is_waited_for_are_named(
    waited_for: tuple[VersionKey, ...], named: str
) -> None:
    """Whoever asks whether the server is ready is told why it is not, in bounded words."""
    snapshot = replace(SNAPSHOT, ready=False, waited_for=waited_for)
    assert lookup.not_ready_text(snapshot) == f"server not ready{named}"


@pytest.mark.parametrize(("version", "expected"), [(None, 10), (1, 1)], ids=["live", "named"])
def test_the_version_that_would_answer_is_found(version: int | None, expected: int) -> None:
    """Without a version it is the live one, with one it is that one."""
    assert lookup.ready_version(SNAPSHOT, "m", version).version == expected


@pytest.mark.parametrize(
    ("model", "version", "code", "text"),
    [
        ("zz", None, "not_found", "Request for unknown model: 'zz' is not found"),
        ("m", 9, "not_found", "Request for unknown model: 'm' version 9 is not found"),
        ("gone", None, "not_found", "Request for unknown model: 'gone' has no available versions"),
        ("m", 2, "not_ready", "Request for unknown model: 'm' version 2 is not at ready state"),
    ],
)
def test_what_is_not_found_is_said_in_the_protocols_words(
    model: str, version: int | None, code: str, text: str
) -> None:
    """Code and text are those of infer."""
    with pytest.raises(BasculeError) as caught:
        lookup.ready_version(SNAPSHOT, model, version)
    assert (caught.value.code, caught.value.message) == (code, text)


def test_metadata_names_every_ready_version() -> None:
    """In the order of numbers, not of letters."""
    assert lookup.model_facts(SNAPSHOT, "m", None).versions == ("1", "10")


def test_metadata_of_a_version_names_that_one() -> None:
    """Only the version that was asked for."""
    assert lookup.model_facts(SNAPSHOT, "m", 1).versions == ("1",)


def test_the_index_lists_what_was_never_loaded_too() -> None:
    """One entry per version; a model without any by its name alone."""
    entries = lookup.index_entries(SNAPSHOT, only_ready=False)
    assert [(entry.name, entry.version, entry.state) for entry in entries] == [
        ("gone", "1", "UNAVAILABLE"),
        ("m", "1", "READY"),
        ("m", "2", "LOADING"),
        ("m", "10", "READY"),
        ("never", "", ""),
    ]


def test_the_index_of_ready_ones_has_no_others() -> None:
    """`ready: true` leaves out everything that cannot answer."""
    entries = lookup.index_entries(SNAPSHOT, only_ready=True)
    assert [(entry.name, entry.version) for entry in entries] == [("m", "1"), ("m", "10")]


@pytest.mark.parametrize(
    ("text", "version"), [("", None), ("1", 1), ("007", 7), ("9" * 30, 2**63)], ids=str
)
def test_a_version_is_read_from_text(text: str, version: int | None) -> None:
    """Nothing means the server's choice; a number beyond all versions is one that is not there."""
    assert lookup.asked_version(text) == version


@pytest.mark.parametrize("text", ["a", "1a", "+1", " 1", "-1", "0", "\u0661"])
def test_a_version_that_is_no_positive_number_is_refused(text: str) -> None:
    """The message quotes it."""
    with pytest.raises(InvalidArgumentError, match="version should be an integral value > 0"):
        lookup.asked_version(text)


def test_statistics_of_unknown_models_are_refused() -> None:
    """In Triton's words, which differ from infer's."""
    with pytest.raises(InvalidArgumentError, match="requested model 'gone' is not available"):
        lookup.measured_versions(SNAPSHOT, "gone", None)


def test_statistics_of_unknown_versions_are_refused() -> None:
    """A version that is not ready has none either."""
    with pytest.raises(InvalidArgumentError, match="version is not available for model 'm'"):
        lookup.measured_versions(SNAPSHOT, "m", 2)


def test_what_an_edge_remembers_is_read_back_as_it_was() -> None:
    """Snapshot and slots survive the file."""
    memory = Remembered(instance="i", snapshot=SNAPSHOT, slots={"p": "s0003"})
    assert snapshot_file.decode(snapshot_file.encode(memory)) == memory


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff"])
def test_a_file_of_another_form_is_no_memory(text: bytes) -> None:
    """An edge then starts with nothing, and the controller tells it."""
    assert snapshot_file.decode(text) is None


class WatchedKeys(list[VersionKey]):
    """Keys that count how often all of them are looked at."""

    walk_count = 0

    def __iter__(self) -> Iterator[VersionKey]:
        self.walk_count += 1
        return super().__iter__()


def test_counters_are_chosen_in_one_walk_over_the_versions() -> None:
    """However many counters there are; those of other versions are left out."""
    keys = WatchedKeys(VersionKey("m", number) for number in range(1, 4))
    items = [VersionStatistics(model="m", version=number, failures={}) for number in (3, 9, 1, 3)]

    found = lookup.counted_of(items, keys)

    assert [item.version for item in found] == [3, 1, 3]
    assert keys.walk_count == 1
