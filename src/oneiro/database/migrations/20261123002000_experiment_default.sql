-- Which release was in charge when an experiment began: compared by number, whether another took charge since needs no
-- two clocks that agree.
ALTER TABLE experiments ADD COLUMN default_at_start integer;

UPDATE experiments AS e
SET default_at_start = (
    SELECT r.number FROM interpreter_releases AS r
    WHERE r.interpreter_id = e.interpreter_id AND r.activated_at <= e.started_at
    ORDER BY r.activated_at DESC LIMIT 1
)
WHERE e.started_at IS NOT NULL;
