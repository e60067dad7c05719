-- Where this database lives. Its installation's id travels with every copy, so a copy and a restored backup would take
-- each other's agents for their own; what differs between them is the cluster and the database's number in it. A copy of
-- the cluster's files keeps both, and is not told apart.
CREATE FUNCTION oneiro.place() RETURNS text LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()) || '/' || d.oid
    FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
$$;
REVOKE ALL ON FUNCTION oneiro.place() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION oneiro.place() TO service_role;

-- One row, written when the first agent or voice is made. `installation`: drawn anew for a copy.
CREATE TABLE oneiro.platform_home (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    place text NOT NULL,
    installation text,
    settled_at timestamptz NOT NULL DEFAULT now()
);
SELECT oneiro.close('oneiro.platform_home'::regclass);

INSERT INTO oneiro.platform_home (place)
SELECT oneiro.place() WHERE EXISTS (SELECT FROM platform_agents) OR EXISTS (SELECT FROM platform_voices);

ALTER FUNCTION oneiro.installation() RENAME TO installation_drawn;
CREATE FUNCTION oneiro.installation() RETURNS text LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce((SELECT installation FROM oneiro.platform_home), oneiro.installation_drawn())
$$;
REVOKE ALL ON FUNCTION oneiro.installation() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION oneiro.installation() TO service_role;
