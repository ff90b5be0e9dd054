"""The HTTP side of the edge: one small file per resource."""
