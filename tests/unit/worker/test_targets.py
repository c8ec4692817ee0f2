"""Request targets: every spelling finds its version, and none finds another's."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.errors import NotFoundError, NotReadyError
from serving.ids import MAX_VERSION, MODEL_NAME, VersionKey
from serving.registry.version import ServedVersion, VersionSpec
from serving.wire.proto_request import read_target
from serving.wire.protobuf import delimited
from serving.worker.loaded import LoadedVersion
from serving.worker.targets import Targets


def hosted(model: str, number: int, *, digest: str = "d") -> LoadedVersion:
    """Return a version that is known by its key only."""
    spec = VersionSpec(
        model=model, version=number, file="", format="echo", size_bytes=0, digest=digest, origin=""
    )
    served = ServedVersion(
        platform="echo", backend="echo", inputs=(), outputs=(), max_batch_rows=0, device="cpu",
        threads=1, load_s=0.0, run_s=0.0,
    )  # fmt: skip
    absent: dict[str, object] = dict.fromkeys(
        ("model", "json_codec", "proto_codec", "batcher", "statistics")
    )
    return LoadedVersion(spec=spec, served=served, default_timeout_ns=0, **absent)  # type: ignore[arg-type]


def found(targets: Targets, raw: bytes, header: bytes | None = None) -> VersionKey | None:
    """Return who answers a request target."""
    target = targets.find(raw)
    if target is None:
        return None
    loaded = target.loaded({} if header is None else {b"bascule-version": header})
    return None if loaded is None else loaded.spec.key


@given(st.from_regex(MODEL_NAME, fullmatch=True), st.sampled_from(["", "!$&'()*+,:;=@~%", "~"]))
def test_any_spelling_of_any_name_finds_it(name: str, safe: str) -> None:
    """However a client escapes a name, it reaches that model."""
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in name):
        return
    targets = Targets()
    targets.put(hosted(name, 1))
    safe = safe.replace("%", "") if "%" in name else safe
    raw = f"/v2/models/{quote(name, safe=safe)}/infer".encode("ascii")
    assert found(targets, raw) == VersionKey(name, 1)


@given(st.binary(max_size=60))
def test_no_target_breaks_the_lookup(raw: bytes) -> None:
    """Garbage finds nothing and raises nothing."""
    targets = Targets()
    targets.put(hosted("m", 1))
    assert found(targets, b"/v2/models/" + raw) in (None, VersionKey("m", 1))


def test_a_name_with_a_percent_sign_is_not_mistaken() -> None:
    """`%41` in a target means A, also beside a model that is really called `%41`."""
    targets = Targets()
    targets.put(hosted("%41", 1))
    targets.put(hosted("A", 2))
    assert found(targets, b"/v2/models/%41/infer") == VersionKey("A", 2)
    assert found(targets, b"/v2/models/%2541/infer") == VersionKey("%41", 1)


@pytest.mark.parametrize(
    ("raw", "header", "number"),
    [
        (b"/v2/models/m/infer", None, 10),
        (b"/v2/models/m/infer", b"9", 9),
        (b"/v2/models/m/versions/9/infer", b"10", 9),
        (b"/v2/models/m/versions/010/infer?x=/versions/9/infer", None, 10),
    ],
)
def test_the_order_of_choice(raw: bytes, header: bytes | None, number: int) -> None:
    """Path, then the edge's header, then the highest number (10 is more than 9)."""
    targets = Targets()
    targets.put(hosted("m", 9))
    targets.put(hosted("m", 10))
    assert found(targets, raw, header) == VersionKey("m", number)


def test_a_replacement_answers_at_once() -> None:
    """A reload changes who answers, also for targets that were found before."""
    targets = Targets()
    targets.put(hosted("m", 1))
    target = targets.find(b"/v2/models/m/infer")
    new = hosted("m", 1, digest="new")
    targets.put(new)
    assert target is not None
    assert target.loaded({}) is new


def test_what_is_dropped_is_gone_for_requests_under_way() -> None:
    """A request whose body was still coming finds nothing, and says why."""
    targets = Targets()
    targets.put(hosted("m", 1))
    target = targets.find(b"/v2/models/m/infer")
    targets.set_unready(VersionKey("m", 1))
    targets.drop(VersionKey("m", 1))
    assert target is not None
    assert target.loaded({}) is None
    assert targets.missing(target, {}).message.endswith("has no available versions")


@pytest.mark.parametrize(
    ("model", "version_text", "kind", "message"),
    [
        ("x", "", NotFoundError, "Request for unknown model: 'x' is not found"),
        ("m", "99", NotFoundError, "Request for unknown model: 'm' version 99 is not found"),
        ("m", "2", NotReadyError, "'m' version 2 is not at ready state"),
        ("away", "", NotFoundError, "'away' has no available versions"),
    ],
)
def test_why_nothing_answers(
    model: str, version_text: str, kind: type[BasculeError], message: str
) -> None:
    """Triton's words for what is unknown, and for what is not ready."""
    targets = Targets()
    targets.put(hosted("m", 1))
    targets.set_unready(VersionKey("m", 2))
    targets.set_unready(VersionKey("away", 1))
    error = targets.missing(targets.find_message(model, version_text), {})
    assert type(error) is kind
    assert error.message.endswith(message)


@pytest.mark.parametrize("text", ["a", "-1", "1.0", "²", "0", "00", "-", "-07"])
def test_versions_in_messages_are_numbers(text: str) -> None:
    """Anything else is the client's mistake."""
    with pytest.raises(InvalidArgumentError, match="should be an integral value > 0"):
        Targets().find_message("m", text)


@pytest.mark.parametrize("zeros", [1, 20, 5000])
def test_zeros_before_a_version_change_nothing(zeros: int) -> None:
    """However many there are; what no version can have is none that is there."""
    targets = Targets()
    assert targets.find_message("m", "0" * zeros + "7").version == 7
    assert targets.find_message("m", "0" * zeros + "9" * 30).version == MAX_VERSION


def grpc_body(model: str, version: str, rest: bytes) -> bytes:
    """Frame a ModelInferRequest."""
    message = delimited(1, model.encode()) + delimited(2, version.encode()) + rest
    return b"\0" + len(message).to_bytes(4, "big") + message


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["m", "n", "other"]),
            st.sampled_from(["", "1", "2"]),
            st.sampled_from([b"", b"\x1a\x01r", b"\x1a\x02rr", b"\x12\x012"]),
        ),
        max_size=12,
    )
)
def test_a_remembered_head_names_what_the_whole_message_names(
    calls: list[tuple[str, str, bytes]],
) -> None:
    """Whatever came before, a body finds the target that reading it in full finds."""
    targets = Targets()
    for version in (hosted("m", 1), hosted("m", 2), hosted("n", 2)):
        targets.put(version)
    for model, version_text, rest in calls:
        body = grpc_body(model, version_text, rest)
        named = read_target(body[5:])
        expected = targets.find_message(named.model, named.version_text)
        known = targets.known(body)
        if known is not None:
            assert (known.model, known.version) == (expected.model, expected.version)
        elif named.head_bytes:
            targets.remember(body, 5 + named.head_bytes, expected)


def test_a_remembered_head_is_forgotten_when_the_versions_change() -> None:
    """What was dropped and came back is another version, and a body finds that one."""
    targets = Targets()
    targets.put(hosted("m", 1))
    body = grpc_body("m", "1", b"")
    targets.remember(body, len(body), targets.find_message("m", "1"))
    targets.drop(VersionKey("m", 1))
    assert targets.known(body) is None
    targets.put(hosted("m", 1, digest="new"))
    assert targets.known(body) is None
    targets.remember(body, len(body), targets.find_message("m", "1"))
    known = targets.known(body)
    assert known is not None
    loaded = known.loaded({})
    assert loaded is not None
    assert loaded.spec.digest == "new"
