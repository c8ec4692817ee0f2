"""The rules and waivers of this home's registry, for commands that need nothing else of it."""

from runtimes.preflight.waivers import Waiver
from serving.registry.trust.trust import TrustPolicy
from serving.registry.trust.trust_file import TRUST_FILE, find_policy
from serving.settings import Settings


def rules_in_force(settings: Settings) -> TrustPolicy:
    """Return the rules of the registry; the catalog is asked only where their file is missing.

    Raises:
        UntrustedError: The registry has rules, and their file is gone.
        InvalidArgumentError: The file cannot be read.
        NotReadyError: The catalog cannot be asked.
    """
    folder = settings.home / "registry"
    found = find_policy(folder / TRUST_FILE)
    if found is not None:
        return found
    if not _has_catalog(settings):
        return TrustPolicy()
    from serving.registry.store import Registry  # noqa: PLC0415  SQL takes a second to import

    with Registry.of(settings) as registry:
        return registry.trust.policy()


def waivers_in_force(settings: Settings) -> tuple[Waiver, ...]:
    """Return what is allowed now; nothing where there is no registry.

    Raises:
        NotReadyError: The catalog cannot be asked.
    """
    if not _has_catalog(settings):
        return ()
    from serving.registry.store import Registry  # noqa: PLC0415  SQL takes a second to import

    with Registry.of(settings) as registry:
        return registry.waivers()


def _has_catalog(settings: Settings) -> bool:
    file = settings.home / "registry" / "catalog.sqlite"
    return bool(settings.registry_url) or file.exists()
