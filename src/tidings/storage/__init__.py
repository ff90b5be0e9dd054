"""Tiers of storage: one port each, with an embedded adapter and a networked one."""
