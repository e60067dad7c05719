-- What consumers of events compute. `source_event` makes a repeated event a no-op.

CREATE TABLE agent_metrics (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id text, -- NULL: the creation failed
    interpreter_id text REFERENCES interpreter_configs (id) ON DELETE CASCADE,
    conversation_id uuid REFERENCES conversations (id) ON DELETE SET NULL,
    metric_type text NOT NULL,
    metric_value numeric,
    metadata jsonb DEFAULT '{}',
    recorded_at timestamptz DEFAULT now(),
    source_event uuid UNIQUE
);
CREATE INDEX idx_agent_metrics_agent_time ON agent_metrics (agent_id, recorded_at);
CREATE INDEX idx_agent_metrics_interpreter_time ON agent_metrics (interpreter_id, recorded_at);
CREATE INDEX idx_agent_metrics_conversation ON agent_metrics (conversation_id) WHERE conversation_id IS NOT NULL;

CREATE TABLE conversation_analytics (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    conversation_id uuid UNIQUE REFERENCES conversations (id) ON DELETE CASCADE,
    user_id uuid REFERENCES profiles (user_id) ON DELETE CASCADE,
    interpreter_id text REFERENCES interpreter_configs (id) ON DELETE CASCADE,
    session_duration_seconds integer,
    message_count integer,
    user_satisfaction_score numeric(2, 1) CHECK (user_satisfaction_score BETWEEN 1 AND 5), -- her rating or NULL
    completion_reason text CHECK (completion_reason IN ('natural_end', 'user_ended', 'timeout', 'error')),
    topics_discussed jsonb DEFAULT '[]',
    sentiment_analysis jsonb DEFAULT '{}',
    created_at timestamptz DEFAULT now(),
    source_event uuid UNIQUE,
    release_id uuid REFERENCES interpreter_releases (id) ON DELETE SET NULL,
    arm_id uuid REFERENCES experiment_arms (id) ON DELETE SET NULL,
    engagement_score numeric(2, 1) CHECK (engagement_score BETWEEN 1 AND 5),
    response_time_ms jsonb NOT NULL DEFAULT '{}', -- {"p50", "p95", "clock"}
    snapshot jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_conversation_analytics_user_time ON conversation_analytics (user_id, created_at);
CREATE INDEX idx_conversation_analytics_interpreter_time ON conversation_analytics (interpreter_id, created_at);
CREATE INDEX idx_conversation_analytics_release ON conversation_analytics (release_id, arm_id);
CREATE INDEX idx_conversation_analytics_arm ON conversation_analytics (arm_id) WHERE arm_id IS NOT NULL;
CREATE TRIGGER oneiro_touch BEFORE UPDATE ON conversation_analytics FOR EACH ROW EXECUTE FUNCTION oneiro.touch();

SELECT oneiro.close('agent_metrics');
SELECT oneiro.close('conversation_analytics');

GRANT SELECT ON conversation_analytics TO authenticated;
CREATE POLICY conversation_analytics_own_read ON conversation_analytics FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
