"""What the voice platform sends us: verified, stored once, answered fast, handled by a job."""
