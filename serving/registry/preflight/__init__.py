"""What preflight judges: a version with its files, on a node with its hardware profiles."""
