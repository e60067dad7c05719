// What comes back in her nights: each as a string of lights over time, which opens to the nights themselves.
import { ask, Problem, type Insights, type Recurring } from "../api/client";
import { useLoaded } from "../store";
import { when } from "./words";

const LATER = "When an image, a feeling or a person comes on a second night, you will find it here.";

/** Her nights where she is; by UTC where the server does not know the name of her zone. */
async function read(): Promise<Insights> {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  try {
    return await ask("get", "/v1/me/insights", { query: { zone: timeZone } });
  } catch (error) {
    if (error instanceof Problem && error.status === 422) return ask("get", "/v1/me/insights");
    throw error;
  }
}

export function Nights() {
  const { value } = useLoaded<Insights>(read, "nights");
  if (!value || value.dreams + value.conversations + value.left_out === 0) return null;
  const kinds: [string, Recurring[]][] = [
    ["Images", value.symbols],
    ["Feelings", value.feelings],
    ["People", value.people],
  ];
  const found = kinds.filter(([, items]) => items.length > 0);
  return (
    <section class="nights" aria-labelledby="nights">
      <h2 id="nights">Your nights</h2>
      <p class="hint">
        {found.length > 0 ? "What has come back in your dreams and talks." : `Nothing has come back yet. ${LATER}`}
        {value.left_out > 0 && ` ${many(value.left_out)} could not be read here: another language.`}
        {value.older > 0 && ` Only the latest were read; ${older(value.older)} not.`}
      </p>
      {found.map(([kind, items]) => (
        <div key={kind} class="returning">
          <h3>{kind}</h3>
          {items.map((item) => (
            <Returning key={item.name} item={item} since={value.since ?? item.first} />
          ))}
        </div>
      ))}
    </section>
  );
}

const many = (count: number): string => (count === 1 ? "One of your tellings" : `${count} of your tellings`);

const older = (count: number): string => (count === 1 ? "an older one was" : `${count} older ones were`);

function Returning({ item, since }: { item: Recurring; since: string }) {
  return (
    <details>
      <summary>
        <strong>{item.name}</strong>
        <Lights item={item} since={since} />
        <small>{item.nights} nights</small>
      </summary>
      <ul>
        {item.where.map((night) => (
          <li key={`${night.dream_id}${night.conversation_id}`}>
            <a href={night.dream_id ? `/dreams/${night.dream_id}` : `/conversations/${night.conversation_id}`}>
              {when(night.date)}
              <span class="hint">{night.dream_id ? "" : " in a conversation"}</span>
            </a>
          </li>
        ))}
      </ul>
    </details>
  );
}

const WIDE = 120;
/** The string is at least so long, so that two nights in a row do not stand at its ends. */
const LEAST_MS = 28 * 86_400_000;

function Lights({ item, since }: { item: Recurring; since: string }) {
  const now = Date.now();
  const from = Math.min(Date.parse(since), now - LEAST_MS);
  const whole = now - from;
  return (
    <svg class="lights" viewBox={`-4 -4 ${WIDE + 8} 8`} aria-hidden="true">
      <line x1="0" y1="0" x2={WIDE} y2="0" />
      {item.where.map((night) => (
        <circle key={night.date} cx={(((Date.parse(night.date) - from) / whole) * WIDE).toFixed(1)} cy="0" r="2.6" />
      ))}
    </svg>
  );
}
