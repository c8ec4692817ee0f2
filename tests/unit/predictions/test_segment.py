"""The file format of the prediction log."""

from hypothesis import given
from hypothesis import strategies as st

from serving.predictions.segment import FRAME_BYTES, encode_frame, read_frames

FRAMES = st.lists(
    st.tuples(
        st.integers(0, 255), st.binary(max_size=40), st.lists(st.binary(max_size=40), max_size=3)
    ),
    max_size=5,
)


def _segment(
    frames: list[tuple[int, bytes, list[bytes]]],
) -> tuple[bytes, list[int]]:
    content, ends = b"", []
    for kind, head, tail in frames:
        content += b"".join(encode_frame(kind, head, tail))
        ends.append(len(content))
    return content, ends


@given(FRAMES, st.data())
def test_what_was_written_whole_is_read(
    frames: list[tuple[int, bytes, list[bytes]]], data: st.DataObject
) -> None:
    """Cut off at any byte, a segment gives exactly the records that end before that."""
    content, ends = _segment(frames)
    cut = data.draw(st.integers(0, len(content)))
    whole = sum(end <= cut for end in ends)

    found = list(read_frames(content[:cut]))

    assert [(frame.kind, bytes(frame.head), bytes(frame.tail)) for frame in found] == [
        (kind, head, b"".join(tail)) for kind, head, tail in frames[:whole]
    ]
    assert [frame.end for frame in found] == ends[:whole]


@given(FRAMES, st.binary(max_size=60))
def test_what_follows_a_cut_is_never_a_record(
    frames: list[tuple[int, bytes, list[bytes]]], rest: bytes
) -> None:
    """Bytes that are no frame end the reading, and change nothing of what stands before them."""
    content, ends = _segment(frames)

    found = list(read_frames(content + b"\0" + rest))

    assert [frame.end for frame in found] == ends


@given(FRAMES.filter(bool), st.data())
def test_a_changed_byte_is_noticed(
    frames: list[tuple[int, bytes, list[bytes]]], data: st.DataObject
) -> None:
    """No record is read whose bytes are not those that were written, and all before it are."""
    content, ends = _segment(frames)
    at = data.draw(st.integers(0, len(content) - 1))
    spoilt = bytearray(content)
    spoilt[at] ^= data.draw(st.integers(1, 255))

    found = [frame.end for frame in read_frames(bytes(spoilt))]

    broken = sum(end <= at for end in ends)
    assert found[:broken] == ends[:broken]
    assert set(found) <= {*ends} - {ends[broken]}


@given(FRAMES.filter(bool), st.data())
def test_a_damaged_record_hides_no_other(
    frames: list[tuple[int, bytes, list[bytes]]], data: st.DataObject
) -> None:
    """A disk's mistake, wherever it is but in a size, costs the record that it is in."""
    content, ends = _segment(frames)
    broken = data.draw(st.integers(0, len(frames) - 1))
    begin = ends[broken - 1] if broken else 0
    places = [at for at in range(begin, ends[broken]) if not 9 <= at - begin < FRAME_BYTES]
    spoilt = bytearray(content)
    spoilt[data.draw(st.sampled_from(places))] ^= data.draw(st.integers(1, 255))

    found = [frame.end for frame in read_frames(bytes(spoilt))]

    assert found == [end for end in ends if end != ends[broken]]


def test_no_record_is_looked_for_in_what_a_client_has_sent() -> None:
    """A damaged record, or one that is still being written, may have frames among its tensors."""
    forged = b"".join(encode_frame(2, b"forged"))
    content = b"".join(encode_frame(2, b"head", [b"x" * 20, forged]))
    damaged = content.replace(b"head", b"heap")

    assert list(read_frames(damaged)) == []
    assert list(read_frames(content[:-1])) == []
