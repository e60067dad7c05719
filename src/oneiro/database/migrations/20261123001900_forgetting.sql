-- What leads back to a dreamer goes with what she deletes.

-- What was measured in a conversation; without it, nobody could tell later whose it had been.
DELETE FROM agent_metrics
WHERE conversation_id IS NULL
  AND metric_type IN ('agent_cache_hit', 'response_time', 'completion_rate', 'user_satisfaction');
ALTER TABLE agent_metrics
    DROP CONSTRAINT IF EXISTS agent_metrics_conversation_id_fkey,
    ADD CONSTRAINT agent_metrics_conversation_id_fkey FOREIGN KEY (conversation_id)
        REFERENCES conversations (id) ON DELETE CASCADE;

-- The key of an agent that was made for one dreamer and dream is made of their ids. It is looked for only while the
-- agent is in use.
CREATE FUNCTION oneiro.forget_session_key() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.session_key := pg_catalog.gen_random_uuid()::text;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION oneiro.forget_session_key() FROM PUBLIC;
CREATE TRIGGER oneiro_forget_session_key BEFORE UPDATE OF state ON platform_agents FOR EACH ROW
WHEN (NEW.scope = 'session' AND NEW.state IN ('retiring', 'retired') AND OLD.state NOT IN ('retiring', 'retired'))
EXECUTE FUNCTION oneiro.forget_session_key();
UPDATE platform_agents SET session_key = gen_random_uuid()::text
WHERE scope = 'session' AND state IN ('retiring', 'retired');
