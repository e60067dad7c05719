"""Dreamers: profiles, consents, which interpreters they may talk to."""
