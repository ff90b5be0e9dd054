"""Import: any usage log becomes one DuckDB file with the canonical usage record."""
