"""What nobody ends: silence, pauses that lasted too long, starts that nobody opened."""
