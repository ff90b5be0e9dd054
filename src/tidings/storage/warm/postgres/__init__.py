"""Warm tier on PostgreSQL 15 or newer: the same SQL, by many servers at once."""
