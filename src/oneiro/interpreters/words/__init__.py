"""First words that remember, and last words."""
