import { useEffect } from "preact/hooks";
import { ask, everything } from "../api/client";
import { interpreters } from "../api/known";
import { announce } from "../parts/announce";
import { dress, palette } from "../parts/colours";
import { Deletion } from "../parts/Deletion";
import { Frame } from "../parts/Frame";
import { Icon } from "../parts/Icon";
import { Rating } from "../parts/Rating";
import { kindly, when } from "../parts/words";
import { go } from "../router";
import { useLoaded } from "../store";
import { ENDS } from "../talk/endings";

export function ConversationPage({ id }: { id: string }) {
  const path = { conversation_id: id };
  const { value, failed } = useLoaded(async () => {
    const talk = await ask("get", "/v1/conversations/{conversation_id}", { path });
    const lines = await everything((cursor) =>
      ask("get", "/v1/conversations/{conversation_id}/messages", { path, query: { limit: 100, cursor: cursor ?? null } }),
    );
    const card = (await interpreters()).find((one) => one.id === talk.interpreter_id);
    return { talk, lines, card };
  }, id);
  const name = value?.card?.name ?? value?.talk.interpreter_id ?? "";
  useEffect(() => {
    if (value?.card) dress(palette(value.card));
  }, [value?.card]);

  async function remove() {
    await ask("delete", "/v1/conversations/{conversation_id}", { path });
    announce("The conversation was deleted.");
    go("/journal", true);
  }

  return (
    <Frame title={name ? `With ${name}` : "A conversation"} kind="narrow">
      <a class="quiet backward" href="/journal">
        <Icon name="back" />
        Journal
      </a>
      {failed && (
        <p class="notice" role="alert">
          {kindly(failed)}
        </p>
      )}
      {value && (
        <article>
          <h1>With {name}</h1>
          <p class="hint">
            {when(value.talk.created_at)}
            {ENDS[value.talk.end_reason ?? ""] && `. ${ENDS[value.talk.end_reason ?? ""]}`}
            {value.talk.degraded && " In part without the voice service."}
          </p>
          {value.talk.summary && <p class="told summary">{value.talk.summary}</p>}
          <ol class="transcript" aria-label="What was said">
            {value.lines.map((line) => (
              <li key={line.id} class={`line ${line.sender}`}>
                <span class="who">{line.sender === "user" ? "You" : name}</span>
                <p>{line.content}</p>
              </li>
            ))}
          </ol>
          {value.talk.status === "completed" && <Rating talk={value.talk} name={name} />}
          <div class="ways spread">
            <a class="main" href={`/?with=${value.talk.interpreter_id}${value.talk.dream_id ? `&dream=${value.talk.dream_id}` : ""}`}>
              {value.talk.dream_id ? "Talk on about this dream" : `Talk with ${name} again`}
            </a>
            <Deletion what="this conversation" remove={remove} />
          </div>
        </article>
      )}
    </Frame>
  );
}
