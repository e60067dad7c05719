-- What conversations amounted to, counted by the hour.

-- One event may say several things of an agent: an end tells of completion and of response times.
ALTER TABLE agent_metrics
    DROP CONSTRAINT agent_metrics_source_event_key,
    ADD CONSTRAINT agent_metrics_source_event_key UNIQUE (source_event, metric_type);
CREATE INDEX idx_agent_metrics_creations ON agent_metrics (interpreter_id, recorded_at)
    WHERE metric_type = 'agent_creation';

ALTER TABLE conversation_analytics
    ADD COLUMN ended_at timestamptz, -- of the conversation: the hour in which it is counted
    ADD COLUMN counts jsonb NOT NULL DEFAULT '{}', -- {name: number}; whatever is added up in rollups and reports
    ADD COLUMN counts_of_words jsonb NOT NULL DEFAULT '{}', -- those that were read from what she said
    ADD COLUMN computed_to bigint NOT NULL DEFAULT 0, -- events up to this position are in it
    ADD COLUMN computed_by integer NOT NULL DEFAULT 0; -- version of the computation
CREATE INDEX idx_conversation_analytics_ended ON conversation_analytics (ended_at);

CREATE TABLE rollups_hourly (
    hour timestamptz NOT NULL,
    interpreter_id text NOT NULL REFERENCES interpreter_configs (id) ON DELETE CASCADE,
    release_id uuid, -- no foreign keys: a rollup is what its rows say, and is counted anew when they change
    arm_id uuid,
    counts jsonb NOT NULL,
    UNIQUE NULLS NOT DISTINCT (hour, interpreter_id, release_id, arm_id)
);
CREATE INDEX idx_rollups_hourly_interpreter ON rollups_hourly (interpreter_id, hour);

-- Hours that are to be counted anew. A row for each change and nothing unique: who marks an hour never waits for who
-- counts it, and a change that is not committed yet when an hour is counted has its mark still to come.
CREATE TABLE rollups_dirty (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    hour timestamptz NOT NULL
);
CREATE INDEX idx_rollups_dirty_hour ON rollups_dirty (hour);

SELECT oneiro.close('rollups_hourly');
SELECT oneiro.close('rollups_dirty');

-- By trigger, so that deleting a conversation or erasing a dreamer counts her hours anew as well.
CREATE FUNCTION oneiro.mark_hours() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.ended_at IS NOT NULL THEN
        INSERT INTO public.rollups_dirty (hour) VALUES (pg_catalog.date_bin('1 hour', OLD.ended_at, 'epoch'));
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.ended_at IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.ended_at <> OLD.ended_at) THEN
        INSERT INTO public.rollups_dirty (hour) VALUES (pg_catalog.date_bin('1 hour', NEW.ended_at, 'epoch'));
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION oneiro.mark_hours() FROM PUBLIC;
CREATE TRIGGER oneiro_mark_hours AFTER INSERT OR DELETE ON conversation_analytics
    FOR EACH ROW EXECUTE FUNCTION oneiro.mark_hours();
CREATE TRIGGER oneiro_mark_changed_hours AFTER UPDATE ON conversation_analytics
    FOR EACH ROW
    WHEN (
        (OLD.ended_at, OLD.interpreter_id, OLD.release_id, OLD.arm_id, OLD.counts, OLD.counts_of_words)
        IS DISTINCT FROM
        (NEW.ended_at, NEW.interpreter_id, NEW.release_id, NEW.arm_id, NEW.counts, NEW.counts_of_words)
    )
    EXECUTE FUNCTION oneiro.mark_hours();

-- A dreamer who takes back her consent takes back what was read from her words, whichever way she says so.
CREATE FUNCTION oneiro.forget_words() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE public.conversation_analytics
    SET topics_discussed = NULL, sentiment_analysis = NULL, snapshot = snapshot - 'words', counts_of_words = '{}'
    WHERE user_id = NEW.user_id AND (sentiment_analysis IS NOT NULL OR topics_discussed IS NOT NULL);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION oneiro.forget_words() FROM PUBLIC;
CREATE TRIGGER oneiro_forget_words AFTER UPDATE OF consents ON profiles
    FOR EACH ROW
    WHEN (OLD.consents @> '{"analytics": true}' AND NOT NEW.consents @> '{"analytics": true}')
    EXECUTE FUNCTION oneiro.forget_words();
