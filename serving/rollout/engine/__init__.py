"""Rollouts: planned moves of traffic from one version to another, watched and reversible."""
