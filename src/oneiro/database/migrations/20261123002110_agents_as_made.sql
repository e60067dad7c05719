-- What an agent was made with. NULL in rows of before: nobody noted it then.
ALTER TABLE platform_agents
    ADD COLUMN prompt_sha256 text,
    ADD COLUMN voice_source text CHECK (voice_source IN ('configured', 'designed', 'default')),
    ADD COLUMN voice_error text;

-- What a voice was tuned with; NULL when it could not be.
ALTER TABLE platform_voices
    ADD COLUMN style real,
    ADD COLUMN use_speaker_boost boolean;

-- The sweep leaves out agents whose deletion was given up.
CREATE INDEX idx_jobs_dead ON jobs (dedupe_key) WHERE state = 'dead';
