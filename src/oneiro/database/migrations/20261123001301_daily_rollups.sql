-- The hours of a day added up, so that a report over years reads days.
CREATE TABLE rollups_daily (
    day timestamptz NOT NULL, -- its beginning, UTC
    interpreter_id text NOT NULL REFERENCES interpreter_configs (id) ON DELETE CASCADE,
    release_id uuid,
    arm_id uuid,
    counts jsonb NOT NULL,
    UNIQUE NULLS NOT DISTINCT (day, interpreter_id, release_id, arm_id)
);
CREATE INDEX idx_rollups_daily_interpreter ON rollups_daily (interpreter_id, day);
SELECT oneiro.close('rollups_daily');

-- What was counted by the hour before is counted again, with its day.
INSERT INTO rollups_dirty (hour) SELECT DISTINCT hour FROM rollups_hourly;
