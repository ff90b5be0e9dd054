"""Tidings: a self-hosted, multi-user AI agent server."""
