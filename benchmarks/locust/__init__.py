"""Locust's rollout shape: it needs an instance of its own, and models that tell their version.

Users, all other shapes and the run are for any server and part of the product: `users.py`,
`shapes.py` and `run.py` in `serving/cli/locust`, by `bascule bench locust`.
"""
