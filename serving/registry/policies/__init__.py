"""What the configuration of a model asks for beside serving: logs, labels, drift, sequences."""
