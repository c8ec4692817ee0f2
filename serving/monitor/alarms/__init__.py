"""Alarms about data, service and the monitor itself: what is wrong now, and what is news of it."""
