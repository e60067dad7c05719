"""What conversations amount to: computed from events after the fact, so that no conversation waits for a number."""
