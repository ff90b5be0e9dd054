"""Reports: figures placed from facts, judged by the gate, told in Markdown, HTML and JSON."""
