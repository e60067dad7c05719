-- The outbox, its consumers, jobs and webhooks.

-- A row is written in the same transaction as the change it tells of. `seq` is given at insert and may become visible
-- out of order; one leased sequencer stamps `position` on committed rows, and consumers read by position.
CREATE TABLE system_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_type text NOT NULL,
    entity_type text,
    entity_id text,
    event_data jsonb NOT NULL,
    user_id uuid REFERENCES profiles (user_id) ON DELETE SET NULL,
    created_at timestamptz DEFAULT now(),
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    position bigint UNIQUE,
    conversation_id uuid -- order is kept per conversation; no foreign key, an event outlives what it tells of
);
CREATE INDEX idx_system_events_type_time ON system_events (event_type, created_at);
CREATE INDEX idx_system_events_unstamped ON system_events (seq) WHERE position IS NULL;
CREATE INDEX idx_system_events_conversation ON system_events (conversation_id, position)
    WHERE conversation_id IS NOT NULL;
CREATE INDEX idx_system_events_user ON system_events (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX idx_system_events_time ON system_events (created_at);

-- One row a durable consumer; the sequencer has its own, whose position is the last one stamped.
CREATE TABLE event_cursors (
    consumer text PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0,
    lease_owner text,
    lease_until timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Events that a consumer could not handle, and the later ones of the same conversation that wait behind them.
CREATE TABLE parked_events (
    consumer text NOT NULL,
    position bigint NOT NULL,
    event_id uuid NOT NULL REFERENCES system_events (id) ON DELETE CASCADE,
    conversation_id uuid,
    attempts integer NOT NULL DEFAULT 0,
    error text,
    parked_at timestamptz NOT NULL DEFAULT now(),
    retry_at timestamptz, -- NULL: waits for an operator or for the event before it
    PRIMARY KEY (consumer, position)
);
CREATE INDEX idx_parked_events_conversation ON parked_events (consumer, conversation_id);
CREATE INDEX idx_parked_events_event ON parked_events (event_id);
CREATE INDEX idx_parked_events_retry ON parked_events (retry_at) WHERE retry_at IS NOT NULL;

CREATE TABLE jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}', -- ids only
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'dead')),
    run_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 8 CHECK (max_attempts > 0),
    dedupe_key text,
    lease_owner text,
    lease_until timestamptz,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE UNIQUE INDEX idx_jobs_dedupe ON jobs (dedupe_key) WHERE state IN ('queued', 'running');
CREATE INDEX idx_jobs_due ON jobs (run_at) WHERE state = 'queued';
CREATE INDEX idx_jobs_leased ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX idx_jobs_finished ON jobs (finished_at) WHERE state IN ('done', 'dead');

CREATE TABLE webhook_inbox (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source text NOT NULL DEFAULT 'elevenlabs',
    delivery_key text NOT NULL, -- what makes a repetition recognisable
    event_type text NOT NULL,
    elevenlabs_conversation_id text,
    body jsonb, -- without audio; NULL once handled
    received_at timestamptz NOT NULL DEFAULT now(),
    handled_at timestamptz,
    error_code text,
    UNIQUE (source, delivery_key)
);
CREATE INDEX idx_webhook_inbox_open ON webhook_inbox (received_at) WHERE handled_at IS NULL;
CREATE INDEX idx_webhook_inbox_conversation ON webhook_inbox (elevenlabs_conversation_id);

CREATE TABLE webhook_endpoints (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    url text NOT NULL,
    description text NOT NULL DEFAULT '',
    event_types text[] NOT NULL DEFAULT '{}', -- empty: all
    secret text NOT NULL,
    previous_secret text, -- signs as well until previous_secret_until
    previous_secret_until timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    consecutive_failures integer NOT NULL DEFAULT 0,
    last_success_at timestamptz,
    disabled_at timestamptz,
    disabled_reason text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER oneiro_touch BEFORE UPDATE ON webhook_endpoints FOR EACH ROW EXECUTE FUNCTION oneiro.touch();

CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    endpoint_id uuid NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    event_id uuid NOT NULL REFERENCES system_events (id) ON DELETE CASCADE,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz DEFAULT now(),
    attempt_log jsonb NOT NULL DEFAULT '[]', -- [{"at", "status", "ms", "error"}]
    lease_owner text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    UNIQUE (endpoint_id, event_id)
);
CREATE INDEX idx_webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE state = 'pending';
CREATE INDEX idx_webhook_deliveries_event ON webhook_deliveries (event_id);

SELECT oneiro.close(closed::regclass)
FROM unnest(ARRAY[
    'system_events', 'event_cursors', 'parked_events', 'jobs',
    'webhook_inbox', 'webhook_endpoints', 'webhook_deliveries'
]) AS closed;
