-- What a start took, kept on its conversation: events are forgotten in time, and a later session takes calls as well.

ALTER TABLE conversations
    ADD COLUMN IF NOT EXISTS start_ms integer, -- our own milliseconds, without those she took to open it
    ADD COLUMN IF NOT EXISTS agent_known boolean; -- NULL: nobody asked the platform, which was away

-- Of which conversations the cost is known; which agents were known was counted otherwise, and cannot be told anymore.
UPDATE conversation_analytics
SET counts = (counts - 'known_agent') || CASE WHEN counts ? 'cost' THEN '{"cost_n": 1}' ELSE '{}' END::jsonb
WHERE counts ?| ARRAY['cost', 'known_agent'];
