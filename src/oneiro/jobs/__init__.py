"""Work for later: rows of a leased table, put there in the transaction that makes the work necessary."""
