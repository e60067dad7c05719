-- A delivery carries its event's place and conversation, so that events of one conversation go out in order.
ALTER TABLE webhook_deliveries
    ADD COLUMN position bigint NOT NULL DEFAULT 0,
    ADD COLUMN conversation_id uuid;
CREATE INDEX idx_webhook_deliveries_order ON webhook_deliveries (endpoint_id, conversation_id, position)
    WHERE state = 'pending';
CREATE INDEX idx_webhook_deliveries_next ON webhook_deliveries (endpoint_id, next_attempt_at, position)
    WHERE state = 'pending';
DROP INDEX idx_webhook_deliveries_due;
CREATE INDEX idx_webhook_deliveries_log ON webhook_deliveries (endpoint_id, created_at DESC, id DESC);
CREATE INDEX idx_webhook_deliveries_time ON webhook_deliveries (created_at);
CREATE INDEX idx_webhook_inbox_received ON webhook_inbox (received_at);

-- When the platform is asked for a session again whose account was not ready.
ALTER TABLE conversation_sessions ADD COLUMN reconcile_after timestamptz;
CREATE INDEX idx_conversation_sessions_unaccounted ON conversation_sessions (session_end_time)
    WHERE reconciled_at IS NULL AND (elevenlabs_conversation_id IS NOT NULL OR connected_at IS NOT NULL);
DROP INDEX idx_conversation_sessions_unreconciled;
