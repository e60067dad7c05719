import { useState } from "preact/hooks";
import { ask, type Talk } from "../api/client";
import { arriving } from "./focus";
import { Icon } from "./Icon";
import { kindly } from "./words";

const MEANINGS = ["Not helpful", "A little", "Good", "Very good", "It moved me"];

export function Rating({ talk, name }: { talk: Talk; name: string }) {
  const [score, count] = useState(talk.rating ?? 0);
  const [comment, write] = useState("");
  const [state, settle] = useState<"open" | "sent" | "wrong">("open");
  const [wrong, err] = useState("");

  async function send(event: Event) {
    event.preventDefault();
    try {
      const path = { conversation_id: talk.conversation_id };
      await ask("put", "/v1/conversations/{conversation_id}/rating", { path, body: { score, comment: comment.trim() || null } });
      settle("sent");
    } catch (error) {
      err(kindly(error));
      settle("wrong");
    }
  }

  return (
    <section class="rating-of" aria-labelledby="rating">
      <h2 id="rating">How was it{name && ` with ${name}`}?</h2>
      {state === "sent" ? (
        <p ref={arriving} class="told" tabIndex={-1}>
          Thank you. {MEANINGS[score - 1]}: noted.
        </p>
      ) : (
        <form class="rating" onSubmit={(event) => void send(event)}>
          <fieldset class="stars">
            <legend class="unseen">Stars</legend>
            {MEANINGS.map((meaning, at) => (
              <label key={meaning} class={at < score ? "lit" : ""} title={meaning}>
                <input type="radio" name="score" value={at + 1} checked={score === at + 1} onChange={() => count(at + 1)} />
                <Icon name="star" />
                <span class="unseen">
                  {at + 1} of 5: {meaning}
                </span>
              </label>
            ))}
            <span class="meaning" aria-hidden="true">
              {MEANINGS[score - 1] ?? ""}
            </span>
          </fieldset>
          {score > 0 && (
            <>
              <label>
                <span>A word, if you like</span>
                <input type="text" maxLength={2000} value={comment} onInput={(event) => write(event.currentTarget.value)} />
              </label>
              <button type="submit" class="soft">
                Send
              </button>
            </>
          )}
          {state === "wrong" && (
            <p class="notice" role="alert">
              {wrong}
            </p>
          )}
        </form>
      )}
    </section>
  );
}
