"""What agents may do: a catalogue of typed tools, validated before each call."""
