"""Conversations counted by the hour."""
