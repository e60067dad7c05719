"""The same request sent twice does its work once (`Idempotency-Key`)."""
