"""Conversations: their life, what was said in them, and how they end."""
