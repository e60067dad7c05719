"""Dreamers as operators see them; every look is noted."""
