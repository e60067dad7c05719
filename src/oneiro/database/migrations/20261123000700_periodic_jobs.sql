-- A periodic job is one row for each period, whichever replica asks for it and however long ago it was done.
ALTER TABLE jobs ADD COLUMN period_key text;
CREATE UNIQUE INDEX idx_jobs_period ON jobs (period_key) WHERE period_key IS NOT NULL;
