"""Signatures of events: those that receivers' libraries expect, and secrets that can be none."""

import base64
import hashlib
import hmac

import pytest

from runtimes.errors import InvalidArgumentError
from serving.events.signing import Secret, parse_secrets, signed_headers

KEY = bytes(range(32))
TEXT = base64.b64encode(KEY).decode()
OTHER = base64.b64encode(KEY[::-1]).decode()


def test_the_example_of_the_convention_is_signed_as_it_says() -> None:
    """Standard Webhooks' own example has the signature that it publishes."""
    secrets = parse_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "it")
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', secrets
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_give_two_signatures() -> None:
    """While a secret is exchanged, whoever has one of the two finds its signature."""
    secrets = parse_secrets(f"# old\n{TEXT}\n\nwhsec_{OTHER}", "it")
    old = hmac.digest(KEY, b"i.7.body", hashlib.sha256)
    signatures = signed_headers("i", 7, b"body", secrets)["webhook-signature"].split()

    assert len(signatures) == 2
    assert signatures[0] == f"v1,{base64.b64encode(old).decode()}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds 0 secrets"),
        ("# only a comment", "holds 0 secrets"),
        ("not base64!", "no base64"),
        (f"\ufeff{TEXT}", "no base64"),
        (base64.b64encode(b"short").decode(), "has 5 bytes"),
        (base64.b64encode(bytes(65)).decode(), "has 65 bytes"),
        ("\n".join([TEXT] * 5), "holds 5 secrets"),
    ],
    ids=["empty", "comment", "no base64", "byte order mark", "short", "long", "many"],
)
def test_what_is_no_secret_is_refused_without_being_repeated(text: str, why: str) -> None:
    """The message says what is wrong and where, and never what the file holds."""
    with pytest.raises(InvalidArgumentError, match=why) as refused:
        parse_secrets(text, "secret_file s")

    assert refused.value.message.startswith("secret_file s")
    assert not text or text not in refused.value.message


def test_a_secret_is_not_printed() -> None:
    """Its repr, as a log or a traceback would show it, has no key."""
    assert repr(Secret(KEY)) == "Secret()"
