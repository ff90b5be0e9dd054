"""The property machine: the real server's delivery, driven step by step in virtual time."""
