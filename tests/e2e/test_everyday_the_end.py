"""The end of the instance that the files before have used; the last one of this folder."""

import pytest

from tests.e2e.ray_instance import Instance

pytestmark = pytest.mark.e2e


def test_down_leaves_nothing_without_serves_controller(running: Instance) -> None:
    """Ray's actor that would end the others died hard: they end all the same."""
    running.kill("ServeController")
    running.assert_ended()
