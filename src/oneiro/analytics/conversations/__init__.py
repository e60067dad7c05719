"""The numbers of one conversation."""
