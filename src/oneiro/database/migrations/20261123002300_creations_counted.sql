-- Agents that were made are counted by the hour beside conversations, so that a report over years reads days.

DROP INDEX idx_agent_metrics_creations;
CREATE INDEX idx_agent_metrics_creations ON agent_metrics (recorded_at) WHERE metric_type = 'agent_creation';

-- Whatever is counted, with its time. The buckets of milliseconds are those of analytics/histogram.py.
CREATE VIEW oneiro.counted WITH (security_invoker = true) AS
SELECT interpreter_id, release_id, arm_id, ended_at AS at, counts || counts_of_words AS counts
FROM conversation_analytics
UNION ALL
SELECT interpreter_id, NULL, NULL, recorded_at,
       CASE
           WHEN (metadata @> '{"success": true}') IS NOT TRUE THEN
               jsonb_build_object('agents:failed', 1, 'agents:error:' || coalesce(metadata ->> 'error', 'unknown'), 1)
           WHEN metric_value IS NULL THEN '{"agents:created": 1}'
           ELSE jsonb_build_object('agents:created', 1, 'agents:ms:' || CASE
               WHEN metric_value <= 0 THEN -1
               WHEN metric_value <= 1 THEN 0
               ELSE least(floor(8 * log(2, metric_value)), 240)
           END, 1)
       END
FROM agent_metrics
WHERE metric_type = 'agent_creation';
REVOKE ALL ON oneiro.counted FROM PUBLIC;
GRANT SELECT ON oneiro.counted TO service_role;

CREATE FUNCTION oneiro.mark_hours_of_agents() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.recorded_at IS NOT NULL THEN
        INSERT INTO public.rollups_dirty (hour) VALUES (pg_catalog.date_bin('1 hour', OLD.recorded_at, 'epoch'));
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.recorded_at IS NOT NULL THEN
        INSERT INTO public.rollups_dirty (hour) VALUES (pg_catalog.date_bin('1 hour', NEW.recorded_at, 'epoch'));
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION oneiro.mark_hours_of_agents() FROM PUBLIC;
CREATE TRIGGER oneiro_mark_hours_of_creation AFTER INSERT ON agent_metrics
    FOR EACH ROW WHEN (NEW.metric_type = 'agent_creation') EXECUTE FUNCTION oneiro.mark_hours_of_agents();
CREATE TRIGGER oneiro_mark_hours_of_changed_creation AFTER UPDATE ON agent_metrics
    FOR EACH ROW
    WHEN ((OLD.metric_type = 'agent_creation' OR NEW.metric_type = 'agent_creation') AND OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION oneiro.mark_hours_of_agents();
CREATE TRIGGER oneiro_mark_hours_of_removed_creation AFTER DELETE ON agent_metrics
    FOR EACH ROW WHEN (OLD.metric_type = 'agent_creation') EXECUTE FUNCTION oneiro.mark_hours_of_agents();

INSERT INTO rollups_dirty (hour)
SELECT DISTINCT date_bin('1 hour', recorded_at, 'epoch') FROM agent_metrics
WHERE metric_type = 'agent_creation' AND recorded_at IS NOT NULL;
