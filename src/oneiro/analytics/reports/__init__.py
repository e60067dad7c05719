"""What operators see: an interpreter's performance, and the dashboard."""
