r"""The packages that a bundle pins: its lock file; and how a node's packages differ from it.

A lock file is text in requirements.txt's format with exact versions only::

    name==1.2.3                                   # a comment
    name[extra]==1.2.3 ; python_version < "3.12" \
        --hash=sha256:…

Everything else (URLs, files, `-r`, `-e`, options, ranges) is refused with its line: a lock that
leaves a choice open pins nothing. Extras are read over: what they bring has lines of its own.
"""

import importlib.metadata
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from packaging.markers import Marker, UndefinedEnvironmentName, default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError

MAX_LOCK_BYTES: Final = 1 << 20
MAX_PINS: Final = 2000
HASH: Final = re.compile(r"(?:^|\s)--hash=(sha256:[0-9a-f]{64})(?=\s|$)")
COMMENT: Final = re.compile(r"(^|\s+)#.*$")

# Distributions of one and the same module: either stands for what was pinned, and installing one
# beside the other would write over it.
TWINS: Final = {"onnxruntime": "onnxruntime-gpu", "onnxruntime-gpu": "onnxruntime"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One package with its exact version."""

    name: str
    """Normalised: lower case, with `-` between its words."""
    version: str
    marker: str = ""
    """Where it applies, as in `python_version < "3.12"`; empty: everywhere."""
    hashes: tuple[str, ...] = ()
    """`sha256:…` of the files that are accepted; empty: any."""
    line: int = 0

    def text(self) -> str:
        """Write it as pip reads it."""
        marker = f" ; {self.marker}" if self.marker else ""
        hashes = "".join(f" --hash={one}" for one in self.hashes)
        return f"{self.name}=={self.version}{marker}{hashes}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A pinned package that is not installed so."""

    name: str
    """As it is to be installed: the twin's name where the twin is there."""
    wanted: str
    found: str
    """The installed version; empty: it is not installed."""

    def text(self) -> str:
        """Say it to people."""
        return f"{self.name} {self.wanted} is pinned and {self.found or 'none'} is installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """The pins of a text, and what in it is none."""

    pins: tuple[Pin, ...]
    refused: tuple[str, ...]
    """Line by line, with the reason."""


def read_pins(file: Path) -> tuple[Pin, ...]:
    """Read a lock file.

    Raises:
        NotFoundError: There is none.
        InvalidArgumentError: It is too large, no text, or holds something that is no pin.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_LOCK_BYTES + 1)
    except OSError as error:
        raise NotFoundError(f"lock file {file} cannot be read: {error.strerror}") from error
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{file}: a lock file is UTF-8 text") from error
    return parse_pins(text, str(file))


def parse_pins(text: str, source: str) -> tuple[Pin, ...]:
    """Return the pins of a lock.

    Args:
        text: What the file holds.
        source: What to call it in messages: a path.

    Raises:
        InvalidArgumentError: It is too large, or a line is no pin; the message names the line.
    """
    sifted = sift_pins(text, source)
    if sifted.refused:
        more = f" (and {len(sifted.refused) - 1} more)" if len(sifted.refused) > 1 else ""
        raise InvalidArgumentError(f"{source}, {sifted.refused[0]}{more}")
    return sifted.pins


def sift_pins(text: str, source: str) -> Sifted:
    """Return the pins of a text, and what in it is none.

    Raises:
        InvalidArgumentError: It is too large.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_LOCK_BYTES:
        raise InvalidArgumentError(
            f"{source}: {size} bytes are too many for a lock file, at most {MAX_LOCK_BYTES}"
        )
    pins: dict[tuple[str, str], Pin] = {}
    refused: list[str] = []
    for number, line in _logical_lines(text):
        try:
            pin = _pin(line, number)
        except ValueError as error:
            refused.append(f"line {number}: {error}")
            continue
        if pins.setdefault((pin.name, pin.marker), pin) is not pin:
            refused.append(f"line {number}: {pin.name} is pinned twice: keep one line")
    if len(pins) > MAX_PINS:
        raise InvalidArgumentError(f"{source}: {len(pins)} packages are pinned, at most {MAX_PINS}")
    return Sifted(pins=tuple(pins.values()), refused=tuple(refused))


def applicable(pins: Sequence[Pin], environment: Mapping[str, str]) -> tuple[Pin, ...]:
    """Return the pins whose markers hold.

    Args:
        pins: What a lock says.
        environment: `node_environment()`, or another node's.
    """
    given = dict(environment)
    return tuple(pin for pin in pins if not pin.marker or Marker(pin.marker).evaluate(given))


def compare(
    pins: Sequence[Pin], installed: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[Mismatch, ...]:
    """Return what differs, in the lock's order. Pure.

    Args:
        pins: What a lock says.
        installed: `installed_packages()`: version by normalised name.
        environment: `node_environment()`: what markers are judged by.
    """
    found = (_mismatch(pin, installed) for pin in applicable(pins, environment))
    return tuple(mismatch for mismatch in found if mismatch is not None)


def mending_command(mismatches: Sequence[Mismatch]) -> str:
    """Return the one command that mends all of it; empty where there is nothing to mend."""
    if not mismatches:
        return ""
    wanted = " ".join(shlex.quote(f"{one.name}=={one.wanted}") for one in mismatches)
    return f"python -m pip install {wanted}"


def node_environment() -> dict[str, str]:
    """Return what markers are judged by on this node."""
    return cast("dict[str, str]", dict(default_environment()))


def installed_packages() -> dict[str, str]:
    """Return the version of every package of this process's environment, by normalised name."""
    found: dict[str, str] = {}
    for item in importlib.metadata.distributions():
        name = item.metadata["Name"]
        if name:  # a broken leftover of an installation has none
            found.setdefault(canonicalize_name(name), item.version)
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join continued lines and leave out comments and empty lines, with each one's first number."""
    parts: list[str] = []
    first = 1
    for number, raw in enumerate(text.splitlines(), 1):
        line = COMMENT.sub("", raw).strip()
        if not parts:
            first = number
        is_continued = line.endswith("\\")
        parts.append(line.removesuffix("\\").strip())
        if is_continued:
            continue
        if whole := " ".join(part for part in parts if part):
            yield first, whole
        parts = []
    if whole := " ".join(part for part in parts if part):
        yield first, whole


def _pin(line: str, number: int) -> Pin:
    """Read one line; a ValueError says what it is instead."""
    shown = line[:80]
    if line.startswith("-"):
        raise ValueError(f"'{shown}' is an option of pip: write name==version, one a line")
    hashes = tuple(HASH.findall(line))
    wanted = HASH.sub(" ", line).strip()
    if "--" in wanted:
        raise ValueError(f"'{shown}' has an option: only --hash=sha256:… may follow a pin")
    try:
        found = Requirement(wanted)
    except (InvalidRequirement, RecursionError) as error:
        raise ValueError(f"'{shown}' is no pin: write name==version") from error
    if found.url is not None:
        raise ValueError(f"'{shown}' names a URL: write name==version")
    marker = "" if found.marker is None else str(found.marker)
    _require_known_variables(marker)
    return Pin(
        name=canonicalize_name(found.name),
        version=_exact_version(found.specifier, shown),
        marker=marker,
        hashes=hashes,
        line=number,
    )


def _exact_version(specifier: SpecifierSet, shown: str) -> str:
    only = next(iter(specifier), None) if len(specifier) == 1 else None
    if only is None or only.operator != "==" or only.version.endswith(".*"):
        raise ValueError(f"'{shown}' leaves the version open: write name==version")
    try:
        return str(Version(only.version))
    except InvalidVersion as error:  # `Requirement` has checked it; kept for other releases of it
        raise ValueError(f"'{shown}' has no valid version") from error


def _require_known_variables(marker: str) -> None:
    """A marker about an extra has no meaning in a lock."""
    if not marker:
        return
    try:
        Marker(marker).evaluate(node_environment())
    except (UndefinedEnvironmentName, InvalidVersion, RecursionError) as error:
        raise ValueError(f"its marker '{marker[:80]}' cannot be judged") from error


def _mismatch(pin: Pin, installed: Mapping[str, str]) -> Mismatch | None:
    twin = TWINS.get(pin.name, pin.name)
    name = pin.name if pin.name in installed or twin not in installed else twin
    found = installed.get(name, "")
    # A build's local label (2.13.0+cpu) is the pinned version, unless the pin names one itself.
    if found and SpecifierSet(f"=={pin.version}").contains(found, prereleases=True):
        return None
    return Mismatch(name=name, wanted=pin.version, found=found)
