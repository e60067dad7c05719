"""Agents on the voice platform: one for each release, language and model, made once and never changed."""
