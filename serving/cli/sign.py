"""`bascule sign` and `bascule verify`: who vouches for every byte of a bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from runtimes.errors import InvalidArgumentError
from serving.cli.bundle_target import bundle_folder
from serving.cli.json_flag import Json
from serving.cli.passphrase import Passphrase, read_passphrase
from serving.cli.render import print_json
from serving.cli.rules import rules_in_force
from serving.errors import UntrustedError
from serving.registry.bundles.bundle import Bundle, read_bundle
from serving.registry.bundles.keys import PublicKey, read_public_key, read_signing_key
from serving.registry.bundles.signing import sign_bundle
from serving.registry.trust.trust import TrustPolicy, matches
from serving.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: bascule sign resnet-3 --key alice.key.pem")(sign)
    app.command(
        epilog="Examples: bascule verify resnet-3 --key alice.pub.pem · bascule verify resnet:3"
    )(verify)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """One key that signed a bundle."""

    key_id: str
    name: str
    """What the registry calls it; empty: it does not know it."""
    trusted: bool
    """Its signature counts for this model."""


def sign(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    *,
    key: Annotated[Path, typer.Option(metavar="FILE", help="Your private key.")],
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Read every file of a bundle and vouch for it; other signatures stay."""
    signing_key = read_signing_key(key, read_passphrase(passphrase_file))
    signers = sign_bundle(bundle, signing_key)
    if as_json:
        print_json({"bundle": str(bundle), "signers": [one.key_id for one in signers]})
    else:
        others = f", beside {len(signers) - 1} other" if len(signers) > 1 else ""
        typer.echo(f"{bundle} is signed by {signing_key.public.key_id}{others}")


def verify(
    target: Annotated[str, typer.Argument(metavar="BUNDLE|MODEL:VERSION", help="What to verify.")],
    *,
    key: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC.pem", help="Who must have signed; default: anyone trusted."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every file, and say who signed it; exit status 1 when nobody did who counts."""
    bundle = read_bundle(bundle_folder(target))
    signers = _signers(bundle, rules_in_force(load_settings()))
    if key is None:
        _require_trusted(target, signers)
    else:
        _require_signed_by(target, bundle, read_public_key(key))
    if as_json:
        print_json({"digest": bundle.digest, "folder": str(bundle.folder), "signers": signers})
        return
    manifest = bundle.manifest
    typer.echo(
        f"{manifest.name}:{manifest.version} is what was signed: {len(manifest.files)} files and "
        f"the manifest, digest {bundle.digest[:12]}"
    )
    for one in signers:
        state = "trusted for this model" if one.trusted else "not trusted here"
        typer.echo(f"  signed by {one.name or 'an unknown key'} ({one.key_id}), {state}")


def _signers(bundle: Bundle, policy: TrustPolicy) -> tuple[Signer, ...]:
    names = {one.key: one.name for one in policy.keys}
    name = bundle.manifest.name
    counted = {one.key for one in policy.keys if matches(name, one.models)}
    return tuple(
        Signer(
            key_id=key.key_id,
            name=names.get(key, ""),
            trusted=key in counted,
        )
        for key in bundle.signers
    )


def _require_trusted(target: str, signers: tuple[Signer, ...]) -> None:
    if not signers:
        raise UntrustedError(f"{target} is not signed: sign it with bascule sign --key FILE")
    if not any(one.trusted for one in signers):
        names = ", ".join(one.name or one.key_id for one in signers)
        raise UntrustedError(
            f"{target} is what {names} signed, and none of them is trusted here for this model: "
            "name the key that you expect with --key, or trust it with bascule keys trust"
        )


def _require_signed_by(target: str, bundle: Bundle, key: PublicKey) -> None:
    if key not in bundle.signers:
        names = ", ".join(one.key_id for one in bundle.signers) or "nobody"
        raise InvalidArgumentError(
            f"{target} is not signed by {key.key_id}, but by {names}: have it signed by that key"
        )
