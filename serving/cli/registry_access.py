"""What commands on the registry share: opening it, reading a version's name, who is asking."""

from pathlib import Path
from typing import Annotated

import typer

from serving.ids import VersionKey, model_name
from serving.registry.aliases import named_version, stored_version
from serving.registry.bundles.manifest import Manifest, parse_manifest
from serving.registry.catalog import RegisteredVersion
from serving.registry.people import current_user
from serving.registry.store import Registry
from serving.settings import load_settings

Reason = Annotated[str, typer.Option(help="Why: it goes to the audit log.")]


def opened() -> Registry:
    """Open the registry of the settings in force."""
    return Registry.of(load_settings())


def who() -> str:
    """Return the name of the user who runs the command."""
    return current_user()


def target_of(registry: Registry, text: str) -> tuple[str, int | None]:
    """Return what `MODEL`, `MODEL:VERSION` or `MODEL@ALIAS` names; None: the whole model.

    Raises:
        NotFoundError: The model has no such alias.
        InvalidArgumentError: It is of no such form.
    """
    if ":" not in text and ("@" not in text or text in registry.models()):
        return model_name(text), None
    key = named_version(registry, text)
    return key.model, key.version


def manifest_of(registry: Registry, row: RegisteredVersion) -> Manifest:
    """Return the manifest of a version; its files are read only if an older Bascule pushed it.

    Raises:
        NotFoundError: Its files are not there, and the catalog does not know it either.
        InvalidArgumentError: It is damaged.
    """
    source = f"manifest of {row.model}:{row.version}"
    if row.manifest_json:
        return parse_manifest(row.manifest_json.encode(), source)
    return registry.blobs.check(row.digest).manifest


def manifest_named(registry: Registry, text: str) -> tuple[str, Manifest]:
    """Return a version's name and manifest; a bundle's folder is one, too.

    Raises:
        NotFoundError: There is no such version.
        InvalidArgumentError: It is damaged, or named wrongly.
    """
    folder = Path(text)
    if folder.is_dir():
        from serving.registry.bundles.bundle import read_manifest  # noqa: PLC0415  seldom needed

        return text, read_manifest(folder)
    key: VersionKey = named_version(registry, text)
    return str(key), manifest_of(registry, stored_version(registry, key))
