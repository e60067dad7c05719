"""A deterministic way of listening to dreams: what was dreamt, by whom, with what feeling, and what to ask next."""
