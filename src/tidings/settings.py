"""Settings: the only reader of the environment, validated at start."""
