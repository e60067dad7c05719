"""The safety queue: lines that the crisis gate flagged, and who has seen to them."""
