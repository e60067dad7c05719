-- What Supabase brings along and a plain PostgreSQL lacks: the roles of its API and the schema `auth`.
-- Every part is made only where it is missing, so nothing that exists is altered.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF to_regrole(wanted) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
            IF wanted = 'service_role' THEN
                BEGIN
                    ALTER ROLE service_role BYPASSRLS;
                EXCEPTION WHEN insufficient_privilege THEN
                    -- Managed servers keep BYPASSRLS to themselves; the policies TO service_role are enough.
                    NULL;
                END;
            END IF;
        END IF;
    END LOOP;

    IF to_regnamespace('auth') IS NULL THEN
        CREATE SCHEMA auth;
        GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
    END IF;
END
$$;

-- The claims are '' and not NULL after the first transaction of a pooled connection, hence nullif.
DO $$
BEGIN
    IF to_regprocedure('auth.jwt()') IS NULL THEN
        CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE SET search_path = '' AS
        $f$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb $f$;
    END IF;
    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE SET search_path = '' AS
        $f$ SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '')::uuid $f$;
    END IF;
    IF to_regprocedure('auth.role()') IS NULL THEN
        CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE SET search_path = '' AS
        $f$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role' $f$;
    END IF;
END
$$;
