"""Plans: what a start needs to know and settles before anything is written."""
