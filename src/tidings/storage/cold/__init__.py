"""Cold tier: history beyond what the log keeps, what it cost, and how well it was served."""
