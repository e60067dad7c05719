"""Everybody's conversations as operators see them; a look at one, and at what was said, is noted."""
