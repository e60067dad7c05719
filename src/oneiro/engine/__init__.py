"""A voice platform of our own: the ElevenLabs HTTP and WebSocket protocol, spoken on loopback."""
