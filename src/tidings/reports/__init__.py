"""Facts rendered into text, the quality gate, and the report in its formats."""
