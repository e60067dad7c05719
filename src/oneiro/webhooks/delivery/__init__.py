"""From an event to the endpoints that want it: fan-out, signing, sending, trying again."""
