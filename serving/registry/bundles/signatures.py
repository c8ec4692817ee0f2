"""The signatures of a bundle: `signature.dsse.json` beside the manifest.

A DSSE envelope with an in-toto statement in it. The statement's subjects are `manifest.json`, by
the sha256 of its exact bytes, and every file that it lists, so a signature stands for every byte of
the bundle. Each signature carries its public key, so that whether a bundle is intact can be told
without trusting anybody; who is trusted is decided elsewhere (`trust.py`).

There is one way to write an envelope, byte for byte, and no other is read: nothing of it can be
changed without notice either.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtimes.errors import InvalidArgumentError
from serving.registry.bundles.keys import PublicKey, SigningKey
from serving.registry.bundles.manifest import MANIFEST_FILE, SIGNATURE_FILE, Manifest

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:bascule:bundle:v1"
MAX_ENVELOPE_BYTES: Final = 8 << 20
MAX_SIGNATURES: Final = 16


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Signature(_Strict):
    keyid: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    publicKey: Annotated[str, Field(max_length=200)]  # noqa: N815  the envelope's spelling
    sig: Annotated[str, Field(max_length=200)]


class _Envelope(_Strict):
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]  # noqa: N815  the envelope's spelling
    signatures: tuple[_Signature, ...] = Field(
        min_length=1, max_length=MAX_SIGNATURES, strict=False
    )

    def raw(self) -> bytes:
        return _json(self.model_dump(mode="json")) + b"\n"


def encoded_for_signing(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding (PAE)."""
    kind = payload_type.encode()
    return b" ".join((b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload))


def statement(manifest: Manifest, manifest_raw: bytes) -> bytes:
    """Return the in-toto statement of a bundle: the bytes that its signers vouch for.

    Args:
        manifest: The bundle's manifest.
        manifest_raw: The bytes of its file.
    """
    subjects = {MANIFEST_FILE: hashlib.sha256(manifest_raw).hexdigest()}
    subjects |= {file.path: file.sha256 for file in manifest.files}
    return _json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": name, "digest": {"sha256": sha256}}
                for name, sha256 in sorted(subjects.items())
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "name": manifest.name,
                "version": manifest.version,
                "digest": {"sha256": manifest.digest()},
            },
        }
    )


def signed(payload: bytes, key: SigningKey, before: bytes = b"") -> bytes:
    """Return an envelope with a payload and a key's signature of it.

    Args:
        payload: A statement.
        key: Who vouches for it.
        before: An envelope of the same payload, checked before; its signatures stay.

    Raises:
        InvalidArgumentError: There are too many signatures.
    """
    mine = _Signature(
        keyid=key.public.key_id,
        publicKey=_base64(key.public.der),
        sig=_base64(key.sign(encoded_for_signing(PAYLOAD_TYPE, payload))),
    )
    return _enveloped(payload, [*_signatures(before), mine])


def merged(payload: bytes, envelopes: Iterable[bytes]) -> bytes:
    """Return one envelope with the signatures of all; each was checked before.

    Raises:
        InvalidArgumentError: There are too many signatures.
    """
    return _enveloped(payload, [one for raw in envelopes for one in _signatures(raw)])


def signers(raw: bytes, payload: bytes, source: str) -> tuple[PublicKey, ...]:
    """Check an envelope to the last byte and return the keys that signed.

    Args:
        raw: The bytes of a signature file.
        payload: The statement that must be in it: that of the bundle as it is here.
        source: What to call the file in messages: a path.

    Raises:
        InvalidArgumentError: It is no such envelope, is not written in the one way, is for
            another bundle, or a signature is wrong.
    """
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise InvalidArgumentError(
            f"{source}: {len(raw)} bytes are too many for a signature, at most {MAX_ENVELOPE_BYTES}"
        )
    envelope = _parsed(raw, source)
    if envelope.payload != _base64(payload):
        raise InvalidArgumentError(
            f"BP-S04 {source}: it signs another bundle than the one that lies here, so one of the "
            "two was changed: copy the bundle again, or sign it again"
        )
    message = encoded_for_signing(envelope.payloadType, payload)
    return tuple(_signer(one, message, source) for one in envelope.signatures)


def _parsed(raw: bytes, source: str) -> _Envelope:
    try:
        envelope = _Envelope.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "envelope"
        raise InvalidArgumentError(
            f"BP-S04 {source}: {field}: {first['msg']}, so it is no signature of a bundle: copy "
            "the bundle again, or sign it again"
        ) from error
    ids = [one.keyid for one in envelope.signatures]
    if envelope.raw() != raw or ids != sorted(set(ids)):
        raise InvalidArgumentError(
            f"BP-S04 {source}: it is not written as bascule sign writes it, so it was changed: "
            "copy the bundle again, or sign it again"
        )
    return envelope


def _signer(signature: _Signature, message: bytes, source: str) -> PublicKey:
    key = PublicKey.from_der(_decoded(signature.publicKey, source))
    if key.key_id != signature.keyid:
        raise InvalidArgumentError(
            f"BP-S04 {source}: key {signature.keyid} has the id {key.key_id}, so the signature was "
            "changed: copy the bundle again, or sign it again"
        )
    if not key.verifies(_decoded(signature.sig, source), message):
        raise InvalidArgumentError(
            f"BP-S04 {source}: the signature of key {signature.keyid} is wrong, so the bundle or "
            "the signature was changed: copy the bundle again, or sign it again"
        )
    return key


def _signatures(raw: bytes) -> tuple[_Signature, ...]:
    return _parsed(raw, SIGNATURE_FILE).signatures if raw else ()


def _enveloped(payload: bytes, signatures: Iterable[_Signature]) -> bytes:
    by_key = {one.keyid: one for one in signatures}
    if len(by_key) > MAX_SIGNATURES:
        raise InvalidArgumentError(
            f"{len(by_key)} signatures are too many, at most {MAX_SIGNATURES}: remove "
            f"{SIGNATURE_FILE} and sign with the keys that still count"
        )
    envelope = _Envelope(
        payload=_base64(payload),
        payloadType=PAYLOAD_TYPE,
        signatures=tuple(by_key[keyid] for keyid in sorted(by_key)),
    )
    return envelope.raw()


def _decoded(text: str, source: str) -> bytes:
    """Return the bytes of base64 in its one canonical spelling."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if _base64(found) != text:
        raise InvalidArgumentError(
            f"BP-S04 {source}: '{text[:40]}' is no base64 in its canonical spelling, so it was "
            "changed: copy the bundle again, or sign it again"
        )
    return found


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
