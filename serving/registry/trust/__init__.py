"""Whom a registry trusts: the rules, the file that people review, the gate that applies them."""
