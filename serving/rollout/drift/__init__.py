"""Decides on drift, once for each version: workers' sums come in, alarms go out."""
