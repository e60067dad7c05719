"""The relay: one client socket, one socket to the platform, and every line of what is said between them."""
