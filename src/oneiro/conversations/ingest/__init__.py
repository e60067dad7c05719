"""Lines that a client reports (direct transport): checked, gated, written together with whatever else arrived."""
