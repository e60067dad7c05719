-- A slot, counted and leased in one call, so that starts which race wait for each other only when slots are scarce.

-- To be called last in its transaction. `taken` is how many slots others hold, `first_free` when the first of these
-- lapses; the slot is leased if `taken` is less than `admitted`.
--
-- A lease is seen by others once it is committed. So whoever takes one holds a lane until its transaction ends (by then
-- the lease is seen, or gone), and there are 16 lanes: all leases that can come of the transactions at work are those
-- that are counted and at most 16 more, oneself among them. Where even that many fit, nobody waits. Else the turnstile
-- is passed alone, which waits until every lane is empty and keeps them so; then the count is exact.
--
-- Each statement of a volatile function sees what was committed before it began, so the counts come after the locks.
CREATE FUNCTION oneiro.reserve_slot(
    turnstile bigint,
    wanted uuid,
    holder text,
    admitted integer,
    at timestamptz,
    until timestamptz,
    OUT taken bigint,
    OUT first_free timestamptz
) LANGUAGE plpgsql VOLATILE SET search_path = '' AS $$
DECLARE
    lanes CONSTANT integer := 16;
    lane integer := floor(random() * lanes);
    tried integer := 1;
BEGIN
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(turnstile);
        WHILE tried < lanes AND NOT pg_try_advisory_xact_lock(turnstile + 1 + lane) LOOP
            lane := (lane + 1) % lanes;
            tried := tried + 1;
        END LOOP;
        PERFORM pg_advisory_xact_lock(turnstile + 1 + lane); -- Held already, or the last that was left to try.
        SELECT count(*), min(s.leased_until) INTO taken, first_free FROM public.conversation_slots AS s
        WHERE s.leased_until > at AND s.conversation_id <> wanted;
        IF taken + lanes > admitted THEN
            RAISE SQLSTATE 'ON001'; -- What rolls this block back gives its locks back as well.
        END IF;
    EXCEPTION WHEN SQLSTATE 'ON001' THEN
        PERFORM pg_advisory_xact_lock(turnstile);
        SELECT count(*), min(s.leased_until) INTO taken, first_free FROM public.conversation_slots AS s
        WHERE s.leased_until > at AND s.conversation_id <> wanted;
    END;
    IF taken < admitted THEN
        INSERT INTO public.conversation_slots AS s (conversation_id, owner, leased_until)
        VALUES (wanted, holder, until)
        ON CONFLICT (conversation_id) DO UPDATE SET owner = excluded.owner, leased_until = excluded.leased_until
        WHERE s.owner <> excluded.owner OR s.leased_until < excluded.leased_until;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION oneiro.reserve_slot(bigint, uuid, text, integer, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION oneiro.reserve_slot(bigint, uuid, text, integer, timestamptz, timestamptz) TO service_role;
