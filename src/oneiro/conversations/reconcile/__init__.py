"""Reconciling: what the platform has of a conversation and we have not, by its webhook or by asking it."""
