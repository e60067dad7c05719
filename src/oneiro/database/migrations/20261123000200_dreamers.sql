-- The dreamer and her journal. A table that a host application has already keeps its rows, keys and columns;
-- what it lacks is added, with the same rights as on a table of our own.

CREATE TABLE IF NOT EXISTS profiles (
    user_id uuid PRIMARY KEY
);
ALTER TABLE profiles
    ADD COLUMN IF NOT EXISTS name text CHECK (char_length(name) <= 200),
    ADD COLUMN IF NOT EXISTS language text NOT NULL DEFAULT 'en' CHECK (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
    ADD COLUMN IF NOT EXISTS region text CHECK (region ~ '^[A-Z]{2}$'),
    ADD COLUMN IF NOT EXISTS birth_year integer CHECK (birth_year BETWEEN 1900 AND 2100),
    ADD COLUMN IF NOT EXISTS consents jsonb NOT NULL DEFAULT '{"voice": false, "memory": false, "analytics": false}'
        CHECK (
            jsonb_typeof(consents) = 'object'
            AND consents - ARRAY['voice', 'memory', 'analytics'] = '{}'
            AND NOT jsonb_path_exists(consents, '$.* ? (@.type() != "boolean")')
        ),
    ADD COLUMN IF NOT EXISTS allowed_interpreters text[], -- NULL: every active one
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now();

CREATE TABLE IF NOT EXISTS dreams (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES profiles (user_id) ON DELETE CASCADE,
    content text NOT NULL CHECK (char_length(content) BETWEEN 1 AND 5000)
);
ALTER TABLE dreams
    ADD COLUMN IF NOT EXISTS title text CHECK (char_length(title) <= 200),
    ADD COLUMN IF NOT EXISTS symbols text[] NOT NULL DEFAULT '{}'
        CHECK (cardinality(symbols) <= 100 AND octet_length(symbols::text) <= 32768),
    ADD COLUMN IF NOT EXISTS interpretation text CHECK (char_length(interpretation) <= 20000),
    ADD COLUMN IF NOT EXISTS interpretation_date timestamptz,
    ADD COLUMN IF NOT EXISTS status text NOT NULL DEFAULT 'kept' CHECK (status IN ('draft', 'kept')),
    ADD COLUMN IF NOT EXISTS source_conversation_id uuid, -- the conversation in which she told it
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now();

CREATE INDEX oneiro_dreams_user_time ON dreams (user_id, created_at DESC, id DESC);
CREATE INDEX oneiro_dreams_source ON dreams (source_conversation_id) WHERE source_conversation_id IS NOT NULL;

CREATE TRIGGER oneiro_touch BEFORE UPDATE ON profiles FOR EACH ROW EXECUTE FUNCTION oneiro.touch();
CREATE TRIGGER oneiro_touch BEFORE UPDATE ON dreams FOR EACH ROW EXECUTE FUNCTION oneiro.touch();

SELECT oneiro.close('profiles', 'oneiro_service_role');
GRANT SELECT, UPDATE (name, language, region, birth_year, consents) ON profiles TO authenticated;
CREATE POLICY oneiro_own_read ON profiles FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY oneiro_own_update ON profiles FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
-- Restrictive: whatever wider policy a host application has, a dreamer gets her own rows.
CREATE POLICY oneiro_own_only ON profiles AS RESTRICTIVE FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

SELECT oneiro.close('dreams', 'oneiro_service_role');
GRANT
    SELECT,
    INSERT (user_id, title, content, symbols, interpretation, interpretation_date, status),
    UPDATE (title, content, symbols, interpretation, interpretation_date, status),
    DELETE
    ON dreams TO authenticated;
CREATE POLICY oneiro_own ON dreams FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY oneiro_own_only ON dreams AS RESTRICTIVE FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
