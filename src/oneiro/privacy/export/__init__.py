"""Everything we have of a dreamer as one document."""
