"""The voice platform at a glance: breakers, what is cached there, what drifted."""
