"""What watching costs is measured with references as users make them."""

import numpy as np

from benchmarks.models.weights import tiny_bias, tiny_weight
from benchmarks.monitor_cost import tensors_of
from serving.monitor.drift.columns import Role


def test_a_reference_has_inputs_and_what_the_model_answers_to_them() -> None:
    """So outputs are watched, too, as with `--outputs`."""
    x, y = tensors_of("tiny", 70, 1)

    assert (x.name, x.role, x.values.shape) == ("x", Role.INPUT, (70, 16))
    assert (y.name, y.role) == ("y", Role.OUTPUT)
    assert np.allclose(x.values @ tiny_weight() + tiny_bias(), y.values, atol=1e-5)
