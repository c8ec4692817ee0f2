"""Load by Locust: `users.py` who asks, `shapes.py` how many when, `run.py` starts Locust."""
