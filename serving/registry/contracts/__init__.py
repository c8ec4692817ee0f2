"""Data contracts: what requests and answers must look like, as a file and as records."""
