"""Credentials become a UserContext here, and nowhere else."""
