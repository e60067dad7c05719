"""First words that remember."""
