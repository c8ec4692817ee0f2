"""Models for tests and benchmarks: real ones out of pinned wheels, small ones made on the spot."""
