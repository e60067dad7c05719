-- The same view; buckets by floating point, since the logarithm of a numeric takes most of the time of a recount. What is
-- added is far below the width of a bucket, and keeps powers of two in the bucket that they begin.
CREATE OR REPLACE VIEW oneiro.counted WITH (security_invoker = true) AS
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
               ELSE least(floor(8 * ln(metric_value::float8) / ln(2::float8) + 1e-9)::int, 240)
           END, 1)
       END
FROM agent_metrics
WHERE metric_type = 'agent_creation';
