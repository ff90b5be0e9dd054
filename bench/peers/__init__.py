"""Other agent servers, each in an environment of its own, playing the same script."""
