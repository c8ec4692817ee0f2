"""What is left of tuning: the evidence as files, and a new version of the model that has it."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from runtimes.errors import InvalidArgumentError
from runtimes.node_probe import probe
from serving.cli.admin_client import AdminClient
from serving.cli.repository_place import Forced, displaced
from serving.cli.result_file import check_places, write_result
from serving.cli.tune.plot import svg
from serving.cli.tune.records import Tuning
from serving.cli.tune.view import Where, page
from serving.clock import SystemClock
from serving.registry.bundles.bundle import Bundle
from serving.registry.bundles.keys import SigningKey
from serving.registry.bundles.revising import Revision, revise
from serving.registry.bundles.signing import sign_bundle
from serving.registry.environment import environment_of
from serving.registry.people import current_user
from serving.registry.store import Pushed, Registry
from serving.settings import Settings

FOLDER: Final = "evidence"
"""In a bundle."""
FILES: Final = ("tuning.json", "tuning.md", "tuning.svg")
"""The evidence."""


def where_now(format_name: str) -> Where:
    """Say where and when it is measured: taken before, for it names what else ran."""
    here = environment_of(probe(), format_name=format_name, threads=0)
    return Where(
        utc=f"{SystemClock().utc_now():%Y-%m-%d %H:%M} UTC",
        cpu_model=here.cpu_model,
        platform=here.platform,
        packages=dict(here.packages),
        load_before=os.getloadavg(),
    )


def evidence(found: Tuning, where: Where) -> Mapping[str, bytes]:
    """Return the files that prove what was found, by name."""
    told = {"where": where, "tuning": found, "chosen": found.chosen()}
    text = json.dumps(msgspec.to_builtins(told), indent=2) + "\n"
    pages = (text, page(found, where), svg(found))
    return {name: one.encode() for name, one in zip(FILES, pages, strict=True)}


def report_folder(folder: Path) -> None:
    """Make the folder of a report before what takes minutes.

    Raises:
        InvalidArgumentError: It cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(f"{folder} cannot be made: {error.strerror}") from error
    check_places(*(folder / name for name in FILES))


def write_report(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the evidence into its folder.

    Raises:
        InvalidArgumentError: It cannot be written.
    """
    for name, content in files.items():
        write_result(folder / name, content)


def refuse_displacing(model: str, settings: Settings) -> None:
    """Refuse to push what would move calls away from a model of the repository.

    Raises:
        AlreadyExistsError: The running instance serves such a model of that name.
    """
    displaced(AdminClient(settings.admin_socket), model, Forced())


def push_tuned(
    bundle: Bundle,
    config: str,
    files: Mapping[str, bytes],
    settings: Settings,
    key: SigningKey | None,
) -> Pushed:
    """Put a version with another configuration and its evidence into the registry.

    Raises:
        UntrustedError: The registry's rules refuse it: it is to be signed.
        AlreadyExistsError: It would take the place of what is served from a model repository.
    """
    manifest = bundle.manifest
    refuse_displacing(manifest.name, settings)
    with (
        tempfile.TemporaryDirectory(prefix="bascule-tuned-") as folder,
        Registry.of(settings) as registry,
    ):
        wanted = manifest.model_copy(update={"config": config})
        change = Revision(
            version=max(registry.next_version(wanted), manifest.version + 1),
            config=config,
            created_utc=SystemClock().utc_now(),
            parent=f"{manifest.name}:{manifest.version}",
            files={f"{FOLDER}/{name}": content for name, content in files.items()},
        )
        made = revise(bundle, change, Path(folder) / "bundle")
        if key is not None:
            sign_bundle(made.folder, key)
        return registry.push(made.folder, current_user())
