"""Bundles: the immutable folder of one version, how it is written, read, signed and compared."""
