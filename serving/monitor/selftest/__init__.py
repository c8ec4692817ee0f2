"""Proves that alarms ring: makes up data that should ring each one, and data that should not."""
