"""Webhooks: `endpoints` and `delivery` send events to other systems, `inbox` takes what the voice platform sends."""
