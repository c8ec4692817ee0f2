"""Rollouts as the catalog keeps them: plans, records, forecasts and their events."""
