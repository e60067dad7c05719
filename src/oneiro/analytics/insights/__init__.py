"""What comes back in a dreamer's nights; for her eyes."""
