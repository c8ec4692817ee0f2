"""What a command line names: a model, a version, an alias of one.

The registry is imported and opened only where an alias is named: `predict` stays quick.
"""

from serving.ids import model_name, version_key, version_number


def named_target(text: str) -> tuple[str, int | None]:
    """Read a target's name; the registry is opened only if an alias may be in it.

    Raises:
        NotFoundError: The model has no such alias.
        InvalidArgumentError: It is of no such form.
    """
    if "@" in text:
        from serving.cli.registry_access import opened, target_of  # noqa: PLC0415  see above

        with opened() as registry:
            return target_of(registry, text)
    if ":" not in text:
        return model_name(text), None
    key = version_key(text)
    return key.model, key.version


def named_number(model: str, text: str) -> int:
    """Return the number that `VERSION` or `@ALIAS` names.

    Raises:
        NotFoundError: The model has no such alias.
        InvalidArgumentError: It is no number.
    """
    if not text.startswith("@"):
        return version_number(text)
    from serving.cli.registry_access import opened  # noqa: PLC0415  see above
    from serving.registry.aliases import named_version  # noqa: PLC0415  see above

    with opened() as registry:
        return named_version(registry, f"{model}{text}").version
