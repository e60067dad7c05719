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
CREATE FUNCTION oneiro.close(closed regclass, policy text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
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
    checked record;
    filled record;
BEGIN
    -- use: 'key' must be there; 'given' is always written, 'default' is left to its default, 'empty' may be NULL.
    -- fallback: what stands for NULL in a column that we read as filled and the host application does not.
    CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS
    SELECT * FROM (VALUES
        ('profiles', 'user_id', 'uuid', 'key', NULL),
        ('profiles', 'name', 'text', 'empty', NULL),
        ('profiles', 'language', 'text', 'default', $f$'en'$f$),
        ('profiles', 'region', 'text', 'empty', NULL),
        ('profiles', 'birth_year', 'integer or smallint', 'empty', NULL),
        ('profiles', 'consents', 'jsonb', 'default', $f$'{"voice": false, "memory": false, "analytics": false}'$f$),
        ('profiles', 'allowed_interpreters', 'text[]', 'empty', NULL),
        ('profiles', 'created_at', 'timestamp with time zone', 'default', 'now()'),
        ('profiles', 'updated_at', 'timestamp with time zone', 'default', 'now()'),
        ('dreams', 'id', 'uuid', 'key', NULL),
        ('dreams', 'user_id', 'uuid', 'key', NULL),
        ('dreams', 'title', 'text', 'empty', NULL),
        ('dreams', 'content', 'text', 'key', $f$''$f$),
        ('dreams', 'symbols', 'text[]', 'default', $f$'{}'$f$),
        ('dreams', 'interpretation', 'text', 'empty', NULL),
        ('dreams', 'interpretation_date', 'timestamp with time zone', 'empty', NULL),
        ('dreams', 'status', 'text', 'default', $f$'kept'$f$),
        ('dreams', 'source_conversation_id', 'uuid', 'empty', NULL),
        ('dreams', 'created_at', 'timestamp with time zone', 'default', 'now()'),
        ('dreams', 'updated_at', 'timestamp with time zone', 'default', 'now()'),
        ('conversations', 'id', 'uuid', 'key', NULL),
        ('conversations', 'user_id', 'uuid', 'key', NULL),
        ('conversations', 'interpreter_id', 'text', 'given', $f$''$f$),
        ('conversations', 'dream_id', 'uuid', 'empty', NULL),
        ('conversations', 'status', 'text', 'default', $f$'completed'$f$),
        ('conversations', 'transport', 'text', 'empty', NULL),
        ('conversations', 'text_only', 'boolean', 'default', 'false'),
        ('conversations', 'language', 'text', 'default', $f$'en'$f$),
        ('conversations', 'model', 'text', 'empty', NULL),
        ('conversations', 'priority', 'text', 'default', $f$'normal'$f$),
        ('conversations', 'release_id', 'uuid', 'empty', NULL),
        ('conversations', 'arm_id', 'uuid', 'empty', NULL),
        ('conversations', 'agent_id', 'text', 'empty', NULL),
        ('conversations', 'elevenlabs_conversation_id', 'text', 'empty', NULL),
        ('conversations', 'prompt_sha256', 'text', 'empty', NULL),
        ('conversations', 'variable_names', 'text[]', 'default', $f$'{}'$f$),
        ('conversations', 'upstream_calls', 'integer', 'default', '0'),
        ('conversations', 'started_at', 'timestamp with time zone', 'empty', NULL),
        ('conversations', 'ended_at', 'timestamp with time zone', 'empty', NULL),
        ('conversations', 'end_reason', 'text', 'empty', NULL),
        ('conversations', 'error_code', 'text', 'empty', NULL),
        ('conversations', 'expires_at', 'timestamp with time zone', 'empty', NULL),
        ('conversations', 'paused_at', 'timestamp with time zone', 'empty', NULL),
        ('conversations', 'last_activity_at', 'timestamp with time zone', 'default', 'now()'),
        ('conversations', 'summary', 'text', 'empty', NULL),
        ('conversations', 'rating', 'smallint or integer', 'empty', NULL),
        ('conversations', 'rating_comment', 'text', 'empty', NULL),
        ('conversations', 'connection_count', 'integer', 'default', '0'),
        ('conversations', 'message_count', 'integer', 'default', '0'),
        ('conversations', 'degraded', 'boolean', 'default', 'false'),
        ('conversations', 'safety_tier', 'text', 'default', $f$'none'$f$),
        ('conversations', 'metadata', 'jsonb', 'default', $f$'{}'$f$),
        ('conversations', 'created_at', 'timestamp with time zone', 'default', 'now()'),
        ('messages', 'id', 'uuid or bigint', 'key', NULL),
        ('messages', 'conversation_id', 'uuid', 'key', NULL),
        ('messages', 'event_id', 'text', 'given', NULL),
        ('messages', 'sender', 'text', 'key', NULL),
        ('messages', 'content', 'text', 'key', $f$''$f$),
        ('messages', 'original_content', 'text', 'empty', NULL),
        ('messages', 'occurred_at', 'timestamp with time zone', 'given', NULL),
        ('messages', 'session', 'integer', 'default', '1'),
        ('messages', 'metadata', 'jsonb', 'default', $f$'{}'$f$),
        ('messages', 'ordinal', 'bigint', 'default', '0'),
        ('messages', 'created_at', 'timestamp with time zone', 'default', 'now()')
    ) AS columns (tab, col, type, use, fallback);

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
            AND (p.tab, p.col) IN (
                ('profiles', 'user_id'), ('dreams', 'id'), ('conversations', 'id'), ('messages', 'id')
            )
    )
    SELECT string_agg(line, '; ' ORDER BY line) INTO misfits FROM problem;

    FOR checked IN
        SELECT v.tab, v.col, v.allowed
        FROM (VALUES
            ('messages', 'sender', ARRAY['user', 'interpreter']),
            ('conversations', 'status', ARRAY['initializing', 'active', 'completed', 'failed']),
            ('conversations', 'transport', ARRAY['relay', 'direct']),
            ('conversations', 'safety_tier', ARRAY['none', 'dream_content', 'passive_ideation', 'active_danger']),
            ('dreams', 'status', ARRAY['draft', 'kept'])
        ) AS v (tab, col, allowed)
        JOIN pg_attribute AS a ON a.attrelid = to_regclass(v.tab) AND a.attname = v.col AND a.atttypid = 'text'::regtype
    LOOP
        EXECUTE format('SELECT count(*) FROM %I WHERE %I <> ALL ($1)', checked.tab, checked.col)
            INTO unfit USING checked.allowed;
        IF unfit > 0 THEN
            misfits := concat_ws('; ', misfits, format(
                '%s.%s has other values than %s in %s rows',
                checked.tab, checked.col, array_to_string(checked.allowed, ', '), unfit
            ));
        END IF;
    END LOOP;

    IF misfits IS NOT NULL THEN
        RAISE EXCEPTION 'tables that exist already do not fit: %', misfits USING ERRCODE = 'datatype_mismatch';
    END IF;

    -- A host application may go on writing NULL where it could; what is read then is our default.
    FOR filled IN
        SELECT
            w.tab,
            string_agg(format('%I = coalesce(%I, %s)', w.col, w.col, w.fallback), ', ') AS settings,
            string_agg(format('%I IS NULL', w.col), ' OR ') AS gaps,
            string_agg(format('ALTER COLUMN %I SET DEFAULT %s', w.col, w.fallback), ', ')
                FILTER (WHERE NOT a.atthasdef) AS defaults,
            string_agg(format('NEW.%I := coalesce(NEW.%I, %s);', w.col, w.col, w.fallback), ' ') AS assignments
        FROM wanted AS w
        JOIN pg_attribute AS a ON a.attrelid = to_regclass(w.tab) AND a.attname = w.col AND NOT a.attnotnull
        WHERE w.fallback IS NOT NULL
        GROUP BY w.tab
    LOOP
        EXECUTE format('UPDATE %I SET %s WHERE %s', filled.tab, filled.settings, filled.gaps);
        IF filled.defaults IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I %s', filled.tab, filled.defaults);
        END IF;
        EXECUTE format(
            $f$
            CREATE FUNCTION oneiro.%1$I() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS %2$L;
            REVOKE ALL ON FUNCTION oneiro.%1$I() FROM PUBLIC;
            CREATE TRIGGER oneiro_fill BEFORE INSERT OR UPDATE ON %3$I FOR EACH ROW EXECUTE FUNCTION oneiro.%1$I()
            $f$,
            'fill_' || filled.tab, format('BEGIN %s RETURN NEW; END', filled.assignments), filled.tab
        );
    END LOOP;
END
$$;
