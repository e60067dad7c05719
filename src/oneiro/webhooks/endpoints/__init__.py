"""Endpoints as operators register them, and the log of what was delivered to them."""
