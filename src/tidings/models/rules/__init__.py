"""The rules by which the built-in planner understands, calls tools and writes."""
