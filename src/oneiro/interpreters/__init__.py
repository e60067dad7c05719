"""Interpreters are living configuration: documents, prompts, releases, and their seeds."""
