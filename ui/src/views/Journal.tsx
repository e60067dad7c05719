import { ask, type Dream, everything, type InterpreterCard, type Talk } from "../api/client";
import { interpreters } from "../api/known";
import { palette } from "../parts/colours";
import { Frame } from "../parts/Frame";
import { Nights } from "../parts/Nights";
import { Orb } from "../parts/Orb";
import { Still } from "../parts/Still";
import { TakeAlong } from "../parts/TakeAlong";
import { beginning, kindly, when } from "../parts/words";
import { useLoaded } from "../store";

interface Shelf {
  dreams: Dream[];
  talks: Talk[];
  cards: InterpreterCard[];
}

async function shelf(): Promise<Shelf> {
  const [dreams, talks, cards] = await Promise.all([
    everything((cursor) => ask("get", "/v1/dreams", { query: { limit: 100, cursor: cursor ?? null } })),
    everything((cursor) => ask("get", "/v1/conversations", { query: { limit: 100, cursor: cursor ?? null } })),
    interpreters(),
  ]);
  return { dreams, talks: talks.filter(({ message_count, status }) => message_count > 0 || status === "active"), cards };
}

export function Journal() {
  const { value, failed, again } = useLoaded(shelf, "shelf");
  const empty = value && value.dreams.length + value.talks.length === 0;
  return (
    <Frame title="Journal" kind={empty ? "bare" : "narrow"}>
      {!empty && <h1>Journal</h1>}
      {failed && (
        <div class="notice" role="alert">
          <p>{kindly(failed)}</p>
          <button type="button" class="soft" onClick={again}>
            Try again
          </button>
        </div>
      )}
      {empty && (
        <Still
          title="Your journal"
          words="Nothing here yet. Dreams that you keep, and what was said about them, will wait for you in this place."
        >
          <a class="main" href="/">
            Tell a dream
          </a>
        </Still>
      )}
      {value && value.dreams.length > 0 && (
        <section aria-labelledby="dreams">
          <h2 id="dreams">Dreams</h2>
          <ul class="shelf">
            {value.dreams.map((dream) => (
              <li key={dream.id}>
                <a href={`/dreams/${dream.id}`}>
                  <strong>{dream.title ?? beginning(dream.content)}</strong>
                  {dream.title && <span class="gist">{beginning(dream.content, 110)}</span>}
                  <small>
                    {when(dream.created_at)}
                    {dream.status === "draft" && <span class="badge">Draft</span>}
                  </small>
                </a>
              </li>
            ))}
          </ul>
        </section>
      )}
      {value && !empty && <Nights />}
      {value && value.talks.length > 0 && (
        <section aria-labelledby="talks">
          <h2 id="talks">Conversations</h2>
          <ul class="shelf">
            {value.talks.map((talk) => (
              <Spoken key={talk.conversation_id} talk={talk} card={value.cards.find(({ id }) => id === talk.interpreter_id)} />
            ))}
          </ul>
        </section>
      )}
      {value && !empty && (
        <div class="ways spread">
          <TakeAlong />
        </div>
      )}
    </Frame>
  );
}

function Spoken({ talk, card }: { talk: Talk; card: InterpreterCard | undefined }) {
  const open = talk.status === "active";
  const path = open ? `/talk/${talk.conversation_id}` : `/conversations/${talk.conversation_id}`;
  return (
    <li>
      <a href={path} class="with-face">
        <span class="face">
          <Orb colours={palette(card)} mood="listening" still />
        </span>
        <span>
          <strong>With {card?.name ?? talk.interpreter_id}</strong>
          <span class="gist">{talk.summary ? beginning(talk.summary, 110) : open ? "Still open: go on where you stopped." : ""}</span>
          <small>
            {when(talk.created_at)}
            {open && <span class="badge">Open</span>}
          </small>
        </span>
      </a>
    </li>
  );
}
