-- Interpreters: the projection of the default release in the guide's tables, the releases themselves, experiments,
-- and what of it exists on the voice platform.

CREATE TABLE interpreter_configs (
    id text PRIMARY KEY,
    name text NOT NULL,
    full_name text NOT NULL,
    description text NOT NULL,
    is_active boolean DEFAULT true,
    version integer DEFAULT 1, -- number of the default release
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    retired_at timestamptz
);
CREATE TRIGGER oneiro_touch BEFORE UPDATE ON interpreter_configs FOR EACH ROW EXECUTE FUNCTION oneiro.touch();

CREATE TABLE interpreter_personalities (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    interpreter_id text REFERENCES interpreter_configs (id) ON DELETE CASCADE,
    approach text NOT NULL,
    traits jsonb DEFAULT '[]',
    conversation_style jsonb NOT NULL,
    expertise jsonb DEFAULT '[]',
    response_patterns jsonb DEFAULT '[]',
    version integer DEFAULT 1,
    is_active boolean DEFAULT true,
    created_at timestamptz DEFAULT now()
);
CREATE INDEX idx_interpreter_personalities_interpreter ON interpreter_personalities (interpreter_id);
CREATE UNIQUE INDEX idx_interpreter_personalities_active ON interpreter_personalities (interpreter_id) WHERE is_active;

CREATE TABLE interpreter_voices (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    interpreter_id text REFERENCES interpreter_configs (id) ON DELETE CASCADE,
    voice_id text,
    voice_description text,
    stability numeric(3, 2) DEFAULT 0.8,
    similarity_boost numeric(3, 2) DEFAULT 0.7,
    style numeric(3, 2) DEFAULT 0.3,
    speaking_rate numeric(3, 2) DEFAULT 0.9,
    use_speaker_boost boolean DEFAULT true,
    version integer DEFAULT 1,
    is_active boolean DEFAULT true,
    created_at timestamptz DEFAULT now()
);
CREATE INDEX idx_interpreter_voices_interpreter ON interpreter_voices (interpreter_id);
CREATE UNIQUE INDEX idx_interpreter_voices_active ON interpreter_voices (interpreter_id) WHERE is_active;

CREATE TABLE interpreter_prompts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    interpreter_id text REFERENCES interpreter_configs (id) ON DELETE CASCADE,
    type text NOT NULL CHECK (type IN ('system', 'greeting', 'follow_up', 'closing')),
    name text NOT NULL,
    template text NOT NULL,
    variables jsonb DEFAULT '{}',
    version integer DEFAULT 1,
    is_active boolean DEFAULT true,
    created_at timestamptz DEFAULT now(),
    UNIQUE (interpreter_id, type, name, version)
);
CREATE INDEX idx_interpreter_prompts_interpreter_type ON interpreter_prompts (interpreter_id, type);
CREATE UNIQUE INDEX idx_interpreter_prompts_active ON interpreter_prompts (interpreter_id, type, name) WHERE is_active;

CREATE TABLE interpreter_releases (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    interpreter_id text NOT NULL REFERENCES interpreter_configs (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    document jsonb NOT NULL,
    content_hash text NOT NULL, -- sha256 of the canonical document
    note text NOT NULL DEFAULT '',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    based_on integer,
    activated_at timestamptz, -- last time it became the default
    UNIQUE (interpreter_id, number)
);

CREATE FUNCTION oneiro.frozen() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'release % of % is frozen: publish a new one', OLD.number, OLD.interpreter_id
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
REVOKE ALL ON FUNCTION oneiro.frozen() FROM PUBLIC;
CREATE TRIGGER oneiro_frozen
    BEFORE UPDATE OF interpreter_id, number, document, content_hash, created_by, created_at ON interpreter_releases
    FOR EACH ROW
    WHEN (
        (OLD.interpreter_id, OLD.number, OLD.document, OLD.content_hash, OLD.created_by, OLD.created_at)
        IS DISTINCT FROM
        (NEW.interpreter_id, NEW.number, NEW.document, NEW.content_hash, NEW.created_by, NEW.created_at)
    )
    EXECUTE FUNCTION oneiro.frozen();

CREATE TABLE experiments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    interpreter_id text NOT NULL REFERENCES interpreter_configs (id) ON DELETE CASCADE,
    name text NOT NULL,
    note text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'running', 'stopped', 'promoted')),
    eligibility jsonb NOT NULL DEFAULT '{}', -- {"languages": [...], "share": 0..1}
    salt text NOT NULL DEFAULT gen_random_uuid()::text, -- makes the hash of one experiment independent of the next
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    stopped_at timestamptz
);
CREATE UNIQUE INDEX idx_experiments_running ON experiments (interpreter_id) WHERE status = 'running';
CREATE INDEX idx_experiments_interpreter ON experiments (interpreter_id, created_at DESC);

CREATE TABLE experiment_arms (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    experiment_id uuid NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
    name text NOT NULL,
    release_id uuid NOT NULL REFERENCES interpreter_releases (id) ON DELETE CASCADE,
    weight numeric NOT NULL CHECK (weight > 0),
    is_control boolean NOT NULL DEFAULT false,
    UNIQUE (experiment_id, name),
    UNIQUE (experiment_id, id)
);
CREATE INDEX idx_experiment_arms_release ON experiment_arms (release_id);
CREATE UNIQUE INDEX idx_experiment_arms_control ON experiment_arms (experiment_id) WHERE is_control;

CREATE TABLE experiment_assignments (
    experiment_id uuid NOT NULL,
    user_id uuid NOT NULL REFERENCES profiles (user_id) ON DELETE CASCADE,
    arm_id uuid NOT NULL,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (experiment_id, user_id),
    FOREIGN KEY (experiment_id, arm_id) REFERENCES experiment_arms (experiment_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_experiment_assignments_user ON experiment_assignments (user_id);
CREATE INDEX idx_experiment_assignments_arm ON experiment_assignments (arm_id);

-- One immutable agent per release, language and model. A row is inserted with a lease before the platform is asked,
-- so that of two processes one provisions and the other waits. A row stays until the platform's agent is gone.
CREATE TABLE platform_agents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    interpreter_id text NOT NULL REFERENCES interpreter_configs (id),
    release_id uuid NOT NULL REFERENCES interpreter_releases (id),
    language text NOT NULL,
    model text NOT NULL,
    scope text NOT NULL DEFAULT 'release' CHECK (scope IN ('release', 'session')),
    session_key text NOT NULL DEFAULT '', -- scope session: a hash of dreamer and dream; else empty
    agent_id text UNIQUE, -- NULL while it is being provisioned
    state text NOT NULL DEFAULT 'provisioning'
        CHECK (state IN ('provisioning', 'ready', 'drifted', 'retiring', 'retired')),
    voice_id text,
    config_sha256 text,
    drift jsonb NOT NULL DEFAULT '[]', -- fields that the platform gives back otherwise than they were sent
    error_code text,
    lease_owner text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz,
    last_used_at timestamptz,
    expires_at timestamptz, -- scope session only
    retired_at timestamptz,
    CHECK (state NOT IN ('ready', 'drifted') OR agent_id IS NOT NULL),
    CHECK ((scope = 'session') = (session_key <> ''))
);
CREATE UNIQUE INDEX idx_platform_agents_live ON platform_agents (release_id, language, model, session_key)
    WHERE state IN ('provisioning', 'ready', 'drifted');
CREATE INDEX idx_platform_agents_interpreter ON platform_agents (interpreter_id);
CREATE INDEX idx_platform_agents_expiry ON platform_agents (expires_at)
    WHERE expires_at IS NOT NULL AND state <> 'retired';

CREATE TABLE platform_voices (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    description_sha256 text NOT NULL UNIQUE,
    interpreter_id text REFERENCES interpreter_configs (id) ON DELETE SET NULL,
    voice_id text, -- NULL while it is being designed
    error_code text,
    lease_owner text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_platform_voices_interpreter ON platform_voices (interpreter_id);

SELECT oneiro.close(closed::regclass)
FROM unnest(ARRAY[
    'interpreter_configs', 'interpreter_personalities', 'interpreter_voices', 'interpreter_prompts',
    'interpreter_releases', 'experiments', 'experiment_arms', 'experiment_assignments',
    'platform_agents', 'platform_voices'
]) AS closed;

-- Names and descriptions of active interpreters are public, as in the guide; personalities, voices and prompts are not.
GRANT SELECT ON interpreter_configs TO anon, authenticated;
CREATE POLICY interpreter_configs_public_read ON interpreter_configs FOR SELECT TO anon, authenticated
    USING (is_active);
