"""Durable runs: queue, lease, recorded steps, deadlines, one end each."""
