"""What stays of a conversation when it has ended: a summary, and a dream that was told as a draft in the journal."""
