"""The one way out: requests to addresses that users name, held to what is public."""
