"""The voice platform behind one port: what we ask of it, in our words."""
