"""Events for receivers outside: what there is, and what is recorded with each change."""
