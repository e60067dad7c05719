"""Every change is an event: written with the change, stamped with a position, delivered after the commit."""
