"""Who brings runs to workers, in a fleet too large for looking by themselves."""
