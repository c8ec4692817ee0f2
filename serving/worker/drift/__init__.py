"""Watches rows of answered calls for drift: the loop copies, a thread counts, others decide."""
