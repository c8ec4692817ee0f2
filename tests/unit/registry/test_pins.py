"""Lock files: exact pins are read, all else is refused with its line, differences are told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.errors import NotFoundError
from serving.registry.bundles.pins import (
    MAX_LOCK_BYTES,
    MAX_PINS,
    Mismatch,
    Pin,
    compare,
    installed_packages,
    mending_command,
    node_environment,
    parse_pins,
    read_pins,
    sift_pins,
)

DIGEST = "sha256:" + "0" * 64
HERE = node_environment()


def test_pins_are_read() -> None:
    """Names are normalised; comments, continuations, hashes, markers and extras are understood."""
    text = (
        "# made by a tool\n\nNumPy==2.1.0  # why\n"
        f'typing_extensions[x]==4.1 ; python_version < "3.0" \\\n    --hash={DIGEST} \\\n'
        f"    --hash={DIGEST}\n"
    )

    assert parse_pins(text, "lock") == (
        Pin(name="numpy", version="2.1.0", line=3),
        Pin(
            name="typing-extensions",
            version="4.1",
            marker='python_version < "3.0"',
            hashes=(DIGEST, DIGEST),
            line=4,
        ),
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("-r other.txt", "option of pip"),
        ("--index-url https://example.invalid", "option of pip"),
        ("-e .", "option of pip"),
        ("numpy @ https://example.invalid/n.whl", "names a URL"),
        ("https://example.invalid/n.whl", "no pin"),
        ("./n.whl", "no pin"),
        ("numpy", "leaves the version open"),
        ("numpy>=2", "leaves the version open"),
        ("numpy==2.*", "leaves the version open"),
        ("numpy===2.1", "leaves the version open"),
        ("numpy==2.1,!=2.2", "leaves the version open"),
        ("numpy==2.1 --global-option=x", "has an option"),
        (f"numpy==2.1 --hash=md5:{'0' * 32}", "has an option"),
        ("numpy==2.1 ; nonsense == 'x'", "no pin"),
        ("numpy==2.1\nNumpy==2.2", "pinned twice"),
    ],
)
def test_what_is_no_pin_is_refused(line: str, told: str) -> None:
    """The message names the file, the line and what to write."""
    bad = 3 + line.count("\n")
    with pytest.raises(InvalidArgumentError, match=told) as caught:
        parse_pins(f"a==1\n# x\n{line}\n", "lock.txt")
    assert caught.value.message.startswith(f"lock.txt, line {bad}: ")


def test_pins_can_be_told_from_the_rest() -> None:
    """Sifting keeps the pins, and lists what is none."""
    sifted = sift_pins("a==1\nb>=2\n-r c\n", "requirements.txt")

    assert [pin.name for pin in sifted.pins] == ["a"]
    assert [text.split(":")[0] for text in sifted.refused] == ["line 2", "line 3"]


def test_a_lock_is_bounded(tmp_path: Path) -> None:
    """Neither its bytes nor its packages may be without end."""
    huge = tmp_path / "lock.txt"
    huge.write_bytes(b"#" * (MAX_LOCK_BYTES + 1))
    many = "".join(f"p{number}==1\n" for number in range(MAX_PINS + 1))

    with pytest.raises(InvalidArgumentError, match="too many for a lock file"):
        read_pins(huge)
    with pytest.raises(InvalidArgumentError, match=f"at most {MAX_PINS}"):
        parse_pins(many, "lock")


def test_a_lock_is_text_that_is_there(tmp_path: Path) -> None:
    """A missing file and one that is no text are named."""
    (tmp_path / "lock.txt").write_bytes(b"\xff\xfe")

    with pytest.raises(InvalidArgumentError, match="UTF-8"):
        read_pins(tmp_path / "lock.txt")
    with pytest.raises(NotFoundError, match=r"none\.txt"):
        read_pins(tmp_path / "none.txt")


def test_differences_are_found() -> None:
    """Another version and a missing package differ; markers that do not hold do not count."""
    pins = parse_pins("a==1\nb==1.0\nc==1\nd==1 ; python_version < '3.0'\ne==1.0\n", "lock")

    found = compare(pins, {"a": "2", "b": "1.0", "e": "1"}, HERE)

    assert found == (
        Mismatch(name="a", wanted="1", found="2"),
        Mismatch(name="c", wanted="1", found=""),
    )
    assert found == compare(pins, {"a": "2", "b": "1.0", "e": "1"}, HERE)
    assert found[0].text() == "a 1 is pinned and 2 is installed"
    assert found[1].text() == "c 1 is pinned and none is installed"


@pytest.mark.parametrize(
    ("wanted", "found", "is_same"),
    [
        ("2.13.0", "2.13.0+cpu", True),
        ("2.13.0+cpu", "2.13.0+cpu", True),
        ("2.13.0+cu128", "2.13.0+cpu", False),
        ("2.0rc1", "2.0rc1", True),
        ("2.0", "2.0.1", False),
        ("2", "2.0.0", True),
    ],
)
def test_a_builds_label_is_no_difference(wanted: str, found: str, *, is_same: bool) -> None:
    """`2.13.0+cpu` is 2.13.0, unless the pin names a label itself."""
    pins = parse_pins(f"torch=={wanted}", "lock")

    assert (compare(pins, {"torch": found}, HERE) == ()) is is_same


def test_twins_stand_for_each_other() -> None:
    """`onnxruntime` is pinned and `onnxruntime-gpu` is there: one module, mended as what it is."""
    pins = parse_pins("onnxruntime==1.30.0", "lock")

    assert compare(pins, {"onnxruntime-gpu": "1.30.0"}, HERE) == ()
    (found,) = compare(pins, {"onnxruntime-gpu": "1.31.1"}, HERE)
    assert found.name == "onnxruntime-gpu"
    assert mending_command([found]) == "python -m pip install onnxruntime-gpu==1.30.0"


def test_one_command_mends_everything() -> None:
    """All mismatches go into one line that a shell takes as it is; none need none."""
    mismatches = [
        Mismatch(name="a", wanted="1!2.0", found=""),
        Mismatch(name="b", wanted="3", found="2"),
    ]

    assert mending_command(mismatches) == "python -m pip install 'a==1!2.0' b==3"
    assert mending_command([]) == ""


def test_installed_packages_are_found() -> None:
    """The process's own packages are there, by normalised name."""
    assert {"numpy", "bascule", "ml-dtypes"} <= installed_packages().keys()


@given(st.text(max_size=200))
def test_no_text_raises_outside_the_tree(text: str) -> None:
    """Any text is read or refused with one of our errors, and what is read is read again alike."""
    try:
        pins = parse_pins(text, "lock")
    except BasculeError:
        return
    again = parse_pins("\n".join(pin.text() for pin in pins), "lock")
    assert [(p.name, p.version, p.marker) for p in again] == [
        (p.name, p.version, p.marker) for p in pins
    ]
