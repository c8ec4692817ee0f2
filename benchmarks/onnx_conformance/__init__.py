"""Conformance with the ONNX project's own test cases, served one by one."""
