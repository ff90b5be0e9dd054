"""Language models behind one port; the built-in planner needs no key."""
