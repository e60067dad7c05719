"""What a dreamer may ask of us about herself: everything we have of her, and that we forget it."""
