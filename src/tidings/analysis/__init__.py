"""The LLM-usage domain: import, schema, prices, analyses and the SQL sandbox."""
