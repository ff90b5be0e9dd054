"""Measures the product against its limit and a peer; see README.md."""
