"""`bascule bench`: how much a served model can do."""

import typer

from serving.cli.locust.command import locust


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="How much a served model can do.",
        no_args_is_help=True,
        epilog="Example: bascule bench locust --model resnet --users 32 --report load.html",
    )
    group.callback()(_group)
    group.command(
        epilog="Examples: bascule bench locust --model resnet --duration 30s · "
        "bascule bench locust --url gpu-1:8000 --grpc-url gpu-1:8001 --model resnet "
        "--shape step --users 64 --rows 8 --max-p99-ms 50 --report load.html --json load.json · "
        "bascule bench locust --url gpu-1:8000 --model resnet --transport http "
        "--client raw --shape soak --duration 2h --rate 20 --max-failure-share 0.001"
    )(locust)
    app.add_typer(group, name="bench")


def _group() -> None:
    """How much a served model can do."""
