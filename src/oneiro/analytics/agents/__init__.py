"""Measurements of agents on the voice platform."""
