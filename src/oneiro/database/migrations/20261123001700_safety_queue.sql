-- The queue of flagged lines: what the crisis gate found, until an operator has seen to it and after.

-- A row is a finding, never what was said. No foreign key to the conversation: somebody in danger who deletes it must
-- not vanish from the queue.
CREATE TABLE safety_flags (
    id uuid PRIMARY KEY, -- of the event that told of it
    user_id uuid NOT NULL REFERENCES profiles (user_id) ON DELETE CASCADE,
    conversation_id uuid NOT NULL,
    message_id text, -- NULL: the line itself could not be stored
    tier text NOT NULL CHECK (tier IN ('passive_ideation', 'active_danger')),
    flagged_at timestamptz NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text, -- an operator's id, or the role of a server
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);
CREATE INDEX idx_safety_flags_time ON safety_flags (flagged_at DESC, id DESC);
CREATE INDEX idx_safety_flags_waiting ON safety_flags (tier, flagged_at) WHERE acknowledged_at IS NULL;
CREATE INDEX idx_safety_flags_user ON safety_flags (user_id);
CREATE INDEX idx_safety_flags_conversation ON safety_flags (conversation_id);
SELECT oneiro.close('safety_flags');

-- Lines are flagged in several places, in one statement with many other lines in the busiest. Each writes an event, so
-- that this is where none can be forgotten; the queue cannot read the events themselves, which are pruned.
CREATE FUNCTION oneiro.queue_flag() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    INSERT INTO public.safety_flags (id, user_id, conversation_id, message_id, tier, flagged_at)
    VALUES (
        NEW.id, NEW.user_id, NEW.conversation_id, NEW.event_data ->> 'message_id',
        CASE NEW.event_type WHEN 'safety.escalated' THEN 'active_danger' ELSE 'passive_ideation' END,
        coalesce(NEW.created_at, now())
    );
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION oneiro.queue_flag() FROM PUBLIC;
CREATE TRIGGER oneiro_queue_flag AFTER INSERT ON system_events FOR EACH ROW
WHEN (
    NEW.event_type IN ('safety.flagged', 'safety.escalated')
    AND NEW.user_id IS NOT NULL AND NEW.conversation_id IS NOT NULL
)
EXECUTE FUNCTION oneiro.queue_flag();

-- What was flagged before waits, too: nobody could acknowledge it.
INSERT INTO safety_flags (id, user_id, conversation_id, message_id, tier, flagged_at)
SELECT id, user_id, conversation_id, event_data ->> 'message_id',
       CASE event_type WHEN 'safety.escalated' THEN 'active_danger' ELSE 'passive_ideation' END,
       coalesce(created_at, now())
FROM system_events
WHERE event_type IN ('safety.flagged', 'safety.escalated') AND user_id IS NOT NULL AND conversation_id IS NOT NULL;

-- Operators list everybody's conversations, the newest first.
CREATE INDEX oneiro_conversations_time ON conversations (created_at DESC, id DESC) WHERE release_id IS NOT NULL;
