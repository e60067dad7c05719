-- The circuit breaker of each endpoint: a row, since every replica delivers to the same ones.
ALTER TABLE webhook_endpoints
    ADD COLUMN breaker_faults integer NOT NULL DEFAULT 0, -- in a row
    ADD COLUMN breaker_probes integer NOT NULL DEFAULT 0, -- that were answered since it opened
    ADD COLUMN rests_until timestamptz; -- null: closed
