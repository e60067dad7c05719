-- When an ended conversation was summed up and its dream, if one was told, was put into the journal as a draft: done
-- once, so that a draft which the dreamer dropped does not come back.
ALTER TABLE conversations ADD COLUMN IF NOT EXISTS wrapped_up_at timestamptz;
CREATE INDEX oneiro_conversations_to_wrap_up ON conversations (ended_at)
    WHERE status = 'completed' AND wrapped_up_at IS NULL AND release_id IS NOT NULL;
