-- The schema `oneiro` (not served by Supabase's open API), the login role, and the look at a host application's tables.

CREATE SCHEMA oneiro;
REVOKE ALL ON SCHEMA oneiro FROM PUBLIC;
GRANT USAGE ON SCHEMA oneiro TO service_role;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;

-- The service logs in as a role that can do nothing until it takes on one of the three.
DO $$
DECLARE
    taken text;
BEGIN
    IF to_regrole('oneiro_service') IS NULL THEN
        CREATE ROLE oneiro_service LOGIN NOINHERIT;
    END IF;
    FOREACH taken IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF NOT pg_has_role('oneiro_service', taken, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO oneiro_service', taken);
        END IF;
    END LOOP;
END
$$;

-- Closes a table to everyone but service_role: Supabase grants ALL on new tables of `public` to anon and authenticated.
-- On a table that may be a host application's the policy has a name of its own.
CREATE FUNCTION oneiro.close(closed regclass, policy text DEFAULT NULL) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    owned regclass;
BEGIN
    EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC, anon, authenticated', closed);
    FOR owned IN
        SELECT d.objid::regclass
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
        WHERE d.refobjid = closed AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
    LOOP
        EXECUTE format('REVOKE ALL ON SEQUENCE %s FROM PUBLIC, anon, authenticated', owned);
        EXECUTE format('GRANT ALL ON SEQUENCE %s TO service_role', owned);
    END LOOP;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', closed);
    EXECUTE format('GRANT ALL ON TABLE %s TO service_role', closed);
    EXECUTE format(
        'CREATE POLICY %I ON %s FOR ALL TO service_role USING (true) WITH CHECK (true)',
        coalesce(policy, (SELECT c.relname FROM pg_catalog.pg_class AS c WHERE c.oid = closed) || '_service_role'),
        closed
    );
END
$$;
REVOKE ALL ON FUNCTION oneiro.close(regclass, text) FROM PUBLIC;

CREATE FUNCTION oneiro.touch() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION oneiro.touch() FROM PUBLIC;

CREATE TABLE oneiro.schema_migrations (
    version text PRIMARY KEY, -- the file's timestamp
    name text NOT NULL,
    checksum text NOT NULL, -- sha256 of the file with \n line ends
    applied_at timestamptz NOT NULL DEFAULT now()
);
SELECT oneiro.close('oneiro.schema_migrations');

-- A host application's own tables are adopted when they fit. Everything that does not is listed at once, before
-- anything of theirs is touched.
DO $$
DECLARE
    ours CONSTANT text[] := ARRAY[
        'interpreter_configs', 'interpreter_personalities', 'interpreter_voices', 'interpreter_prompts',
        'interpreter_releases', 'experiments', 'experiment_arms', 'experiment_assignments', 'platform_agents',
        'platform_voices', 'conversation_sessions', 'conversation_slots', 'idempotency_keys', 'system_events',
        'event_cursors', 'parked_events', 'jobs', 'webhook_inbox', 'webhook_endpoints', 'webhook_deliveries',
        'agent_metrics', 'conversation_analytics'
    ];
    misfits text;
    unfit bigint;
BEGIN
    -- use: 'key' must be there; 'given' is always written, 'default' is left to its default, 'empty' may be NULL.
    CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS
    SELECT * FROM (VALUES
        ('profiles', 'user_id', 'uuid', 'key'),
        ('profiles', 'name', 'text', 'empty'),
        ('profiles', 'language', 'text', 'default'),
        ('profiles', 'region', 'text', 'empty'),
        ('profiles', 'birth_year', 'integer or smallint', 'empty'),
        ('profiles', 'consents', 'jsonb', 'default'),
        ('profiles', 'allowed_interpreters', 'text[]', 'empty'),
        ('profiles', 'created_at', 'timestamp with time zone', 'default'),
        ('profiles', 'updated_at', 'timestamp with time zone', 'default'),
        ('dreams', 'id', 'uuid', 'key'),
        ('dreams', 'user_id', 'uuid', 'key'),
        ('dreams', 'title', 'text', 'empty'),
        ('dreams', 'content', 'text', 'key'),
        ('dreams', 'symbols', 'text[]', 'default'),
        ('dreams', 'interpretation', 'text', 'empty'),
        ('dreams', 'interpretation_date', 'timestamp with time zone', 'empty'),
        ('dreams', 'status', 'text', 'default'),
        ('dreams', 'source_conversation_id', 'uuid', 'empty'),
        ('dreams', 'created_at', 'timestamp with time zone', 'default'),
        ('dreams', 'updated_at', 'timestamp with time zone', 'default'),
        ('conversations', 'id', 'uuid', 'key'),
        ('conversations', 'user_id', 'uuid', 'key'),
        ('conversations', 'interpreter_id', 'text', 'given'),
        ('conversations', 'dream_id', 'uuid', 'empty'),
        ('conversations', 'status', 'text', 'default'),
        ('conversations', 'transport', 'text', 'empty'),
        ('conversations', 'text_only', 'boolean', 'default'),
        ('conversations', 'language', 'text', 'default'),
        ('conversations', 'model', 'text', 'empty'),
        ('conversations', 'priority', 'text', 'default'),
        ('conversations', 'release_id', 'uuid', 'empty'),
        ('conversations', 'arm_id', 'uuid', 'empty'),
        ('conversations', 'agent_id', 'text', 'empty'),
        ('conversations', 'elevenlabs_conversation_id', 'text', 'empty'),
        ('conversations', 'prompt_sha256', 'text', 'empty'),
        ('conversations', 'variable_names', 'text[]', 'default'),
        ('conversations', 'upstream_calls', 'integer', 'default'),
        ('conversations', 'started_at', 'timestamp with time zone', 'empty'),
        ('conversations', 'ended_at', 'timestamp with time zone', 'empty'),
        ('conversations', 'end_reason', 'text', 'empty'),
        ('conversations', 'error_code', 'text', 'empty'),
        ('conversations', 'expires_at', 'timestamp with time zone', 'empty'),
        ('conversations', 'paused_at', 'timestamp with time zone', 'empty'),
        ('conversations', 'last_activity_at', 'timestamp with time zone', 'default'),
        ('conversations', 'summary', 'text', 'empty'),
        ('conversations', 'rating', 'smallint or integer', 'empty'),
        ('conversations', 'rating_comment', 'text', 'empty'),
        ('conversations', 'connection_count', 'integer', 'default'),
        ('conversations', 'message_count', 'integer', 'default'),
        ('conversations', 'degraded', 'boolean', 'default'),
        ('conversations', 'safety_tier', 'text', 'default'),
        ('conversations', 'metadata', 'jsonb', 'default'),
        ('conversations', 'created_at', 'timestamp with time zone', 'default'),
        ('messages', 'id', 'uuid or bigint', 'key'),
        ('messages', 'conversation_id', 'uuid', 'key'),
        ('messages', 'event_id', 'text', 'given'),
        ('messages', 'sender', 'text', 'key'),
        ('messages', 'content', 'text', 'key'),
        ('messages', 'original_content', 'text', 'empty'),
        ('messages', 'occurred_at', 'timestamp with time zone', 'given'),
        ('messages', 'session', 'integer', 'default'),
        ('messages', 'metadata', 'jsonb', 'default'),
        ('messages', 'ordinal', 'bigint', 'default'),
        ('messages', 'created_at', 'timestamp with time zone', 'default')
    ) AS columns (tab, col, type, use);

    WITH host AS (
        SELECT c.oid, c.relname, c.relkind
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN (SELECT tab FROM wanted)
            AND c.relkind NOT IN ('i', 'I', 'S', 'c')
    ), present AS (
        SELECT
            h.relname AS tab, a.attname AS col, format_type(a.atttypid, NULL) AS type,
            a.attnotnull AS not_null, a.atthasdef OR a.attidentity <> '' AS has_default,
            EXISTS (
                SELECT FROM pg_index AS i
                WHERE i.indrelid = h.oid AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1
                    AND i.indkey[0] = a.attnum
            ) AS is_unique
        FROM host AS h
        JOIN pg_attribute AS a ON a.attrelid = h.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE h.relkind = 'r'
    ), problem (line) AS (
        SELECT format('%s exists already', name) FROM unnest(ours) AS name WHERE to_regclass(name) IS NOT NULL
        UNION ALL
        SELECT format('%s is not a table', h.relname) FROM host AS h WHERE h.relkind <> 'r'
        UNION ALL
        SELECT format('%s.%s is missing (expected %s)', w.tab, w.col, w.type)
        FROM wanted AS w
        JOIN host AS h ON h.relname = w.tab AND h.relkind = 'r'
        WHERE w.use = 'key' AND NOT EXISTS (SELECT FROM present AS p WHERE p.tab = w.tab AND p.col = w.col)
        UNION ALL
        SELECT format('%s.%s is %s (expected %s)', w.tab, w.col, p.type, w.type)
        FROM wanted AS w
        JOIN present AS p USING (tab, col)
        WHERE p.type <> ALL (string_to_array(w.type, ' or '))
        UNION ALL
        SELECT format('%s.%s is NOT NULL without a default', p.tab, p.col)
        FROM present AS p
        LEFT JOIN wanted AS w USING (tab, col)
        WHERE p.not_null AND NOT p.has_default
            AND (w.use IS NULL OR w.use = 'default' OR (w.use = 'key' AND w.col = 'id'))
        UNION ALL
        SELECT format('%s.%s is NOT NULL (expected to allow NULL)', p.tab, p.col)
        FROM present AS p
        JOIN wanted AS w USING (tab, col)
        WHERE p.not_null AND w.use = 'empty'
        UNION ALL
        SELECT format('%s.%s is not unique', p.tab, p.col)
        FROM present AS p
        WHERE NOT p.is_unique
            AND (p.tab, p.col) IN (('profiles', 'user_id'), ('dreams', 'id'), ('conversations', 'id'), ('messages', 'id'))
    )
    SELECT string_agg(line, '; ' ORDER BY line) INTO misfits FROM problem;

    IF misfits IS NULL AND EXISTS (
        SELECT FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'messages' AND column_name = 'sender'
    ) THEN
        SELECT count(*) INTO unfit FROM public.messages
        WHERE sender IS NULL OR sender NOT IN ('user', 'interpreter');
        IF unfit > 0 THEN
            misfits := concat_ws('; ', misfits, format('messages.sender: %s rows are neither user nor interpreter', unfit));
        END IF;
    END IF;
    IF EXISTS (
        SELECT FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'conversations' AND column_name = 'status'
            AND data_type = 'text'
    ) THEN
        SELECT count(*) INTO unfit FROM public.conversations
        WHERE status IS NULL OR status NOT IN ('initializing', 'active', 'completed', 'failed');
        IF unfit > 0 THEN
            misfits := concat_ws('; ', misfits, format(
                'conversations.status: %s rows are none of initializing, active, completed, failed', unfit
            ));
        END IF;
    END IF;

    IF misfits IS NOT NULL THEN
        RAISE EXCEPTION 'tables that exist already do not fit: %', misfits USING ERRCODE = 'datatype_mismatch';
    END IF;
END
$$;
