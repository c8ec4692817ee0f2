"""What a command is asked about: a bundle's folder, or a version of the registry."""

from pathlib import Path

from serving.cli.rules import rules_in_force
from serving.errors import NotFoundError
from serving.registry.aliases import named_version
from serving.registry.bundles.bundle import Head
from serving.registry.formats import format_named
from serving.registry.store import Registry
from serving.registry.trust.trust import judge
from serving.registry.trust.trust_gate import candidate_of
from serving.settings import Settings, load_settings


def bundle_folder(target: str) -> Path:
    """Return the folder of a bundle that is named by path, as MODEL:VERSION or MODEL@ALIAS.

    Raises:
        NotFoundError: It is neither.
        InvalidArgumentError: The version is no number.
    """
    path = Path(target)
    if path.is_dir():
        return path
    if ":" not in target and "@" not in target:
        raise NotFoundError(f"{target} is neither a bundle's folder nor MODEL:VERSION")
    with Registry.of(load_settings()) as registry:
        wanted = named_version(registry, target)
        return registry.folder(wanted.model, wanted.version)


def may_execute(head: Head, settings: Settings) -> bool:
    """Tell whether the registry's rules let a bundle of this kind run its author's code.

    Raises:
        InvalidArgumentError: The rules cannot be read.
        UntrustedError: They are lost.
    """
    if not format_named(head.manifest.format).runs_code:
        return False
    return judge(rules_in_force(settings), candidate_of(head)).refusal is None
