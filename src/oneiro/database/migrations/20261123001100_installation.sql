-- Names this installation in the tags of its agents and the names of its voices on the platform, so that two
-- installations which share a workspace there never take away each other's. Drawn once, and kept in the function itself:
-- it travels with the database and nothing can change it by accident.
DO $$
DECLARE
    drawn CONSTANT text := substr(replace(gen_random_uuid()::text, '-', ''), 1, 12);
BEGIN
    EXECUTE format(
        'CREATE FUNCTION oneiro.installation() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '''' AS %L',
        format('SELECT %L::text', drawn)
    );
END
$$;
REVOKE ALL ON FUNCTION oneiro.installation() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION oneiro.installation() TO service_role;

-- `verified_at`: when an agent was last read back; those longest ago come first.
CREATE INDEX idx_platform_agents_verified ON platform_agents (verified_at)
    WHERE scope = 'release' AND state IN ('ready', 'drifted');
