"""How the server and its nodes are, what that means for users, and what is counted."""
