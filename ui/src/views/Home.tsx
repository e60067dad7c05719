import { useEffect, useRef, useState } from "preact/hooks";
import { ask, type Dream, type Dreamer, type InterpreterCard } from "../api/client";
import { interpreters, me } from "../api/known";
import { announce } from "../parts/announce";
import { dress, palette } from "../parts/colours";
import { Frame } from "../parts/Frame";
import { Icon } from "../parts/Icon";
import { Orb } from "../parts/Orb";
import { beginning, kindly } from "../parts/words";
import { go } from "../router";
import { useLoaded } from "../store";
import { begin, grown, keepDream, NotBegun } from "../talk/begin";
import { agreed, draft, lastWith } from "../talk/keeping";
import { sdk } from "../voice/call";
import { Consent } from "./Consent";

interface Trouble {
  away: boolean;
  kept: boolean;
  text: string;
}

export function Home({ wanted, dreamId }: { wanted: string | null; dreamId: string | null }) {
  const cards = useLoaded(interpreters, "cards");
  const known = useLoaded<Dreamer>(me, "me");
  const latest = useLoaded(() => ask("get", "/v1/conversations", { query: { limit: 1 } }), "latest");
  const open = latest.value?.items.find(({ status, message_count }) => status === "active" && message_count > 0);
  const about = useLoaded<Dream | null>(
    async () => (dreamId ? ask("get", "/v1/dreams/{dream_id}", { path: { dream_id: dreamId } }) : null),
    `dream ${dreamId}`,
  );
  const [text, write] = useState(draft.dream.get());
  const [asking, wonder] = useState<"voice" | "writing" | null>(null);
  const [busy, work] = useState(false);
  const [trouble, meet] = useState<Trouble | null>(null);
  const chosen = cards.value?.find(({ id }) => id === wanted) ?? cards.value?.find(({ id }) => id === lastWith.get()) ?? cards.value?.[0];
  const dreamer = known.value;
  // Nothing begins before it is known what she agreed to.
  const ready = chosen && dreamer;
  // All at once, so that nothing moves away under a finger.
  const here = cards.value && (latest.value ?? latest.failed);
  const unreached = cards.failed ?? known.failed;

  useEffect(() => {
    if (chosen) dress(palette(chosen));
  }, [chosen]);
  // Ahead of its time; where that fails, it is asked for once more when it is needed.
  useEffect(() => void setTimeout(() => void sdk().catch(() => null), 600), []);

  const choose = (card: InterpreterCard) => {
    lastWith.set(card.id);
    go(`/?with=${card.id}${dreamId ? `&dream=${dreamId}` : ""}`, true);
  };

  async function start(voice: boolean) {
    if (!chosen) return;
    work(true);
    meet(null);
    try {
      await begin({ interpreter: chosen, voice, text, dreamId });
    } catch (error) {
      const failed = error as NotBegun;
      if (failed.kept && !dreamId) keptNow();
      meet({ away: failed.away, kept: Boolean(failed.kept), text: kindly(failed) });
    } finally {
      work(false);
    }
  }

  function keptNow() {
    draft.dream.set("");
    write("");
  }

  async function onlyKeep() {
    work(true);
    try {
      const id = await keepDream(text.trim());
      keptNow();
      announce("Your dream is in the journal.");
      go(`/dreams/${id}`);
    } catch (error) {
      meet({ away: false, kept: false, text: kindly(error) });
    } finally {
      work(false);
    }
  }

  function want(voice: boolean) {
    if (!dreamer) return;
    if (!agreed.get() || !grown(dreamer.birth_year ?? Infinity) || (voice && !dreamer.consents.voice)) wonder(voice ? "voice" : "writing");
    else void start(voice);
  }

  return (
    <Frame title="Oneiro" kind="home">
      <div class="hero">
        <div class="hero-orb">{chosen && <Orb colours={palette(chosen)} mood={busy ? "connecting" : "resting"} />}</div>
        <h1>Tell me your dream</h1>
        <p class="lead">Speak or write. There is no hurry, and nothing you say is wrong.</p>
      </div>

      <div class="telling">
        {here && open && (
          <p class="about">
            Your conversation with {cards.value?.find(({ id }) => id === open.interpreter_id)?.name} is resting.{" "}
            <a href={`/talk/${open.conversation_id}`}>Go on where you stopped</a>
          </p>
        )}
        {unreached && (
          <div class="notice" role="alert">
            <p>{kindly(unreached)}</p>
            <button
              type="button"
              class="soft"
              onClick={() => {
                cards.again();
                known.again();
              }}
            >
              Try again
            </button>
          </div>
        )}
        {cards.value?.length === 0 && <p class="notice">Nobody is here to listen just now. Please come back later.</p>}

        {!here && !unreached && <div class="guides-to-come" />}
        {here && cards.value && cards.value.length > 0 && (
          <fieldset class="guides">
            <legend>Who would you like to talk with?</legend>
            <div class="guides-row">
              {cards.value.map((card) => (
                <Guide key={card.id} card={card} chosen={card === chosen} choose={() => choose(card)} />
              ))}
            </div>
          </fieldset>
        )}

        {about.value ? (
          <p class="about">
            About your dream <a href={`/dreams/${about.value.id}`}>{about.value.title ?? beginning(about.value.content, 48)}</a>
          </p>
        ) : (
          <label class="first">
            <span>Your dream, if you like to write it down first</span>
            <textarea
              rows={3}
              maxLength={5000}
              value={text}
              placeholder="I was standing at the edge of …"
              onInput={(event) => {
                write(event.currentTarget.value);
                draft.dream.set(event.currentTarget.value);
              }}
            />
          </label>
        )}

        {trouble && <Away trouble={trouble} name={chosen?.name ?? ""} />}

        <div class="ways">
          <button type="button" class="main" disabled={!ready || busy} onClick={() => want(true)}>
            <Icon name="mic" />
            {busy ? "One moment …" : `Speak with ${chosen?.name ?? "…"}`}
          </button>
          <button type="button" class="soft" disabled={!ready || busy} onClick={() => want(false)}>
            Write instead
          </button>
          {!about.value && text.trim() && (
            <button type="button" class="quiet" disabled={busy} onClick={() => void onlyKeep()}>
              Only keep it in my journal
            </button>
          )}
        </div>
      </div>

      {asking && chosen && dreamer && (
        <Consent
          me={dreamer}
          name={chosen.name}
          voice={asking === "voice"}
          close={() => wonder(null)}
          agreed={() => {
            known.again();
            wonder(null);
            void start(asking === "voice");
          }}
        />
      )}
    </Frame>
  );
}

function Guide({ card, chosen, choose }: { card: InterpreterCard; chosen: boolean; choose: () => void }) {
  const look = card.appearance as Record<string, string | null> | null;
  return (
    <label class="guide" style={{ "--own": palette(card).accent }}>
      <input type="radio" name="interpreter" value={card.id} checked={chosen} onChange={choose} />
      <span class="guide-face">
        <Orb colours={palette(card)} mood="listening" still />
      </span>
      <span class="guide-words">
        <strong>{card.name}</strong>
        <small>{card.description}</small>
        {look?.["tagline"] && <em>{look["tagline"]}</em>}
      </span>
    </label>
  );
}

function Away({ trouble, name }: { trouble: Trouble; name: string }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => box.current?.scrollIntoView({ block: "center" }), [trouble]);
  return (
    <div ref={box} class="notice" role="alert">
      <p>
        {trouble.away ? `${name} cannot be reached just now. ` : `${trouble.text} `}
        {trouble.kept
          ? "Your dream is safe: it waits in your journal, and you can talk about it whenever you like."
          : trouble.away && "You can write the dream down here meanwhile; the page keeps every word."}
      </p>
      {trouble.kept && (
        <a class="soft" href="/journal">
          Open the journal
        </a>
      )}
    </div>
  );
}
