"""Spoils requests: a few changes that a parser may trip over, or bytes without any sense."""

import re
from collections.abc import Callable
from random import Random
from typing import Final

NUMBERS: Final = (
    *(b"0", b"-1", b"1e999", b"-0.0", b"NaN", b"-Infinity", b"1.5", b"true", b"null", b'"1"'),
    *(str(2**power).encode() for power in (7, 8, 15, 31, 32, 53, 62, 63, 64, 70)),
    *(b"[]", b"{}", b"[[[[1]]]]", b"[" * 150, b"9" * 400, b'"\\ud800"', b'"\xff"', b""),
)
VARINTS: Final = (
    *(b"\0", b"\x01", b"\x7f", b"\x80\x01", b"\xff\xff\xff\xff\x0f", b"\x80" * 5 + b"\x01"),
    *(b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\xff" * 11, b"\xfe" + b"\xff" * 7 + b"\x7f"),
)
TOKEN: Final = re.compile(rb'"[^"]{0,40}"|-?[0-9.]+|true|false')

Change = Callable[[Random, bytearray], None]


def mutated(random: Random, body: bytes, other: bytes) -> bytes:
    """Return a request with one to four changes; `other` is what is grafted into it."""
    message = bytearray(body)
    for _ in range(random.randint(1, 4)):
        change = random.choice(CHANGES)
        if change is _graft:
            at, start = _place(random, message), _place(random, other)
            message[at : at + 8] = other[start : start + random.randint(1, 64)]
        else:
            change(random, message)
    return bytes(message)


def nonsense(random: Random) -> bytes:
    """Return random bytes."""
    return random.randbytes(random.choice((0, 1, 4, 5, 16, 64, 200)))


def _place(random: Random, content: bytes | bytearray) -> int:
    return random.randrange(len(content) + 1)


def _flip(random: Random, message: bytearray) -> None:
    if message:
        message[random.randrange(len(message))] ^= 1 << random.randrange(8)


def _set(random: Random, message: bytearray) -> None:
    if message:
        message[random.randrange(len(message))] = random.choice(
            (0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x5B)
        )


def _cut(random: Random, message: bytearray) -> None:
    del message[_place(random, message) :]


def _remove(random: Random, message: bytearray) -> None:
    at = _place(random, message)
    del message[at : at + random.randint(1, 8)]


def _insert(random: Random, message: bytearray) -> None:
    at = _place(random, message)
    message[at:at] = random.choice((random.randbytes(3), random.choice(VARINTS)))


def _repeat(random: Random, message: bytearray) -> None:
    at = _place(random, message)
    message[at:at] = message[at : at + random.randint(1, 40)] * random.choice((1, 2, 50))


def _token(random: Random, message: bytearray) -> None:
    tokens = list(TOKEN.finditer(message))
    if tokens:
        chosen = random.choice(tokens)
        message[chosen.start() : chosen.end()] = random.choice(NUMBERS)


def _swap(random: Random, message: bytearray) -> None:
    tokens = [found.span() for found in TOKEN.finditer(message)]
    if len(tokens) > 1:
        (a, b), (c, d) = sorted(random.sample(tokens, 2))
        message[a:d] = message[c:d] + message[b:c] + message[a:b]


def _graft(random: Random, message: bytearray) -> None:
    """Stand for `mutated`'s own case."""
    _repeat(random, message)


CHANGES: Final[tuple[Change, ...]] = (
    *(_flip, _set, _cut, _remove, _insert, _repeat, _graft),
    *(_token, _token, _token, _swap),
)
