"""How a made-up history is written: staged in temporary tables, and from there set by set."""
