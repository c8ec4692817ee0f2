"""Signing a bundle that lies in a folder."""

from pathlib import Path

from serving.registry.bundles.bundle import check_files, read_head, replace_file
from serving.registry.bundles.keys import PublicKey, SigningKey
from serving.registry.bundles.manifest import SIGNATURE_FILE
from serving.registry.bundles.signatures import signed, signers, statement


def sign_bundle(folder: Path, key: SigningKey) -> tuple[PublicKey, ...]:
    """Add a key's signature to a bundle, whose every file is read first.

    The signature appears whole or not at all; those of other keys stay.

    Returns:
        All keys that have signed now.

    Raises:
        NotFoundError: `folder` is no bundle.
        InvalidArgumentError: The bundle is damaged, or has too many signatures.
    """
    head = read_head(folder)
    check_files(folder, head.manifest)
    payload = statement(head.manifest, head.raw)
    envelope = signed(payload, key, head.envelope)
    found = signers(envelope, payload, SIGNATURE_FILE)
    # Written beside the bundle: nothing unlisted may lie in it, not even shortly.
    replace_file(folder / SIGNATURE_FILE, envelope, folder.absolute().parent)
    return found
