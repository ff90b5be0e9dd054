"""Tiers of storage: one port each, an embedded adapter and, later, a networked one."""
