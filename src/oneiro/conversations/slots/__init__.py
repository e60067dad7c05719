"""Slots: leases on the number of conversations at the same time."""
