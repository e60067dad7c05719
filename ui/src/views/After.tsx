import { useEffect, useState } from "preact/hooks";
import { ask, type Dream, type Talk } from "../api/client";
import { interpreters } from "../api/known";
import { dress, palette } from "../parts/colours";
import { arriving } from "../parts/focus";
import { Frame } from "../parts/Frame";
import { Rating } from "../parts/Rating";
import { kindly } from "../parts/words";
import { useLoaded } from "../store";
import { ENDS } from "../talk/endings";
import { live } from "../talk/live";

interface Harvest {
  talk: Talk;
  dream: Dream | null;
}

const LOOKS = 8;
const BETWEEN_MS = 700;

/** A conversation that something else ended is summed up a moment later. */
async function summedUp(id: string): Promise<Talk> {
  const path = { conversation_id: id };
  let talk = await ask("post", "/v1/conversations/{conversation_id}/end", { path, body: { reason: "user_ended" } });
  for (let look = 1; look < LOOKS && !talk.summary && talk.message_count > 0; look += 1) {
    await new Promise((done) => setTimeout(done, BETWEEN_MS));
    talk = await ask("get", "/v1/conversations/{conversation_id}", { path });
  }
  return talk;
}

async function harvest(id: string): Promise<Harvest> {
  const talk = await summedUp(id);
  live.set(null);
  if (talk.dream_id) return { talk, dream: await ask("get", "/v1/dreams/{dream_id}", { path: { dream_id: talk.dream_id } }) };
  const { items } = await ask("get", "/v1/dreams", { query: { limit: 10 } });
  const told = items.find(({ status, created_at }) => status === "draft" && created_at >= talk.created_at);
  return { talk, dream: told ?? null };
}

/** Whether more was said than the greeting. */
const told = ({ message_count }: Talk): boolean => message_count > 1;

const cut = (talk: Talk): boolean => talk.end_reason === "error" && !told(talk);

/** What stays of a conversation: its summary, its images, the dream, and how it was. */
export function After({ id }: { id: string }) {
  const { value, failed, again } = useLoaded(() => harvest(id), id);
  const cards = useLoaded(interpreters, "cards");
  const card = cards.value?.find((one) => one.id === value?.talk.interpreter_id);
  useEffect(() => {
    if (card) dress(palette(card));
  }, [card]);

  return (
    <Frame title="After the conversation" kind="narrow after">
      <h1>{value && cut(value.talk) ? "It was cut short" : "Thank you for telling it"}</h1>
      {failed && (
        <div class="notice" role="alert">
          <p>{kindly(failed)}</p>
          <button type="button" class="soft" onClick={again}>
            Try again
          </button>
        </div>
      )}
      {!value && !failed && <p class="lead">Gathering what was said …</p>}
      {value && (
        <>
          {ENDS[value.talk.end_reason ?? ""] && <p class="lead">{ENDS[value.talk.end_reason ?? ""]}</p>}
          {value.talk.summary && told(value.talk) && (
            <section aria-labelledby="summary">
              <h2 id="summary">What was said</h2>
              <p class="told">{value.talk.summary}</p>
            </section>
          )}
          {value.dream && <Found dream={value.dream} again={again} />}
          {told(value.talk) && <Rating talk={value.talk} name={card?.name ?? ""} />}
          <div class="ways spread">
            <a class="soft" href={`/conversations/${id}`}>
              Read it again
            </a>
            <a class="soft" href="/journal">
              Journal
            </a>
            <a class="soft" href="/">
              Another dream
            </a>
          </div>
        </>
      )}
    </Frame>
  );
}

function Found({ dream, again }: { dream: Dream; again: () => void }) {
  const [title, name] = useState(dream.title ?? "");
  const [content, write] = useState(dream.content);
  const [done, settle] = useState<"kept" | "dropped" | null>(dream.status === "kept" ? "kept" : null);
  const [wrong, err] = useState("");
  const path = { dream_id: dream.id };

  async function keep(event: Event) {
    event.preventDefault();
    try {
      await ask("patch", "/v1/dreams/{dream_id}", { path, body: { title: title || null, content, status: "kept" } });
      settle("kept");
    } catch (error) {
      err(kindly(error));
    }
  }

  async function drop() {
    try {
      await ask("delete", "/v1/dreams/{dream_id}", { path });
      settle("dropped");
    } catch (error) {
      err(kindly(error));
    }
  }

  return (
    <>
      {dream.symbols.length > 0 && (
        <section aria-labelledby="images">
          <h2 id="images">Images</h2>
          <ul class="images">
            {dream.symbols.map((symbol) => (
              <li key={symbol}>{symbol}</li>
            ))}
          </ul>
        </section>
      )}
      <section aria-labelledby="dream">
        <h2 id="dream">The dream</h2>
        {done === "kept" && (
          <p ref={dream.status === "kept" ? null : arriving} class="told" tabIndex={-1}>
            It is in your journal. <a href={`/dreams/${dream.id}`}>Read it there</a>
          </p>
        )}
        {done === "dropped" && (
          <p ref={arriving} class="told" tabIndex={-1}>
            It was let go. The conversation stays until you delete it.
          </p>
        )}
        {done === null && (
          <form class="entry" onSubmit={(event) => void keep(event)}>
            <p class="hint">In your own words, as a draft. Change what you like; it is kept only if you keep it.</p>
            <label>
              <span>Title</span>
              <input type="text" maxLength={200} value={title} onInput={(event) => name(event.currentTarget.value)} />
            </label>
            <label>
              <span>Dream</span>
              <textarea rows={5} maxLength={5000} required value={content} onInput={(event) => write(event.currentTarget.value)} />
            </label>
            <div class="ways">
              <button type="submit" class="main">
                Keep it
              </button>
              <button type="button" class="quiet" onClick={() => void drop()}>
                Let it go
              </button>
            </div>
          </form>
        )}
        {wrong && (
          <p class="notice" role="alert">
            {wrong}
            <button type="button" class="quiet" onClick={again}>
              Look again
            </button>
          </p>
        )}
      </section>
    </>
  );
}
