"""Warm tier, the truth: transactions that commit together or not at all."""
