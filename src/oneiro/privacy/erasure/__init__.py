"""Forgetting a dreamer: here, at the platform, and by telling those who were told of her."""
