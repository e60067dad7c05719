-- The place in a trace (W3C traceparent) at which a conversation was started and an event was written. A process that
-- records traces sets `oneiro.traceparent` for each of its transactions; without that nothing is stored.
ALTER TABLE conversations ADD COLUMN IF NOT EXISTS traceparent text;
ALTER TABLE conversations ALTER COLUMN traceparent SET DEFAULT nullif(current_setting('oneiro.traceparent', true), '');
ALTER TABLE system_events ADD COLUMN traceparent text;

-- An event belongs to the trace of its conversation, whichever request wrote it. This is settled for each event, since
-- one transaction may write those of many conversations.
CREATE FUNCTION oneiro.event_traceparent() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    here text := current_setting('oneiro.traceparent', true);
    begun text := (SELECT traceparent FROM public.conversations WHERE id = NEW.conversation_id);
BEGIN
    NEW.traceparent := CASE WHEN substr(begun, 4, 32) <> substr(here, 4, 32) THEN begun ELSE here END;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION oneiro.event_traceparent() FROM PUBLIC;
CREATE TRIGGER oneiro_event_traceparent BEFORE INSERT ON system_events
FOR EACH ROW WHEN (current_setting('oneiro.traceparent', true) <> '') EXECUTE FUNCTION oneiro.event_traceparent();
