import { useState } from "preact/hooks";
import { ask, type Dream } from "../api/client";
import { announce } from "../parts/announce";
import { Deletion } from "../parts/Deletion";
import { arriving } from "../parts/focus";
import { Frame } from "../parts/Frame";
import { Icon } from "../parts/Icon";
import { kindly, when } from "../parts/words";
import { go } from "../router";
import { useLoaded } from "../store";

export function DreamPage({ id }: { id: string }) {
  const path = { dream_id: id };
  const { value, failed, again } = useLoaded(() => ask("get", "/v1/dreams/{dream_id}", { path }), id);
  const [editing, edit] = useState<boolean | null>(null);

  async function remove() {
    await ask("delete", "/v1/dreams/{dream_id}", { path });
    announce("The dream was deleted.");
    go("/journal", true);
  }

  async function keep() {
    await ask("patch", "/v1/dreams/{dream_id}", { path, body: { status: "kept" } });
    again();
  }

  return (
    <Frame title={value?.title ?? "A dream"} kind="narrow">
      <a class="quiet backward" href="/journal">
        <Icon name="back" />
        Journal
      </a>
      {failed && (
        <p class="notice" role="alert">
          {kindly(failed)}
        </p>
      )}
      {value && editing && (
        <Edit
          dream={value}
          done={() => {
            edit(false);
            again();
          }}
        />
      )}
      {value && !editing && (
        <article>
          <h1 ref={editing === false ? arriving : null} tabIndex={-1}>
            {value.title ?? "A dream"}
          </h1>
          <p class="hint">
            {when(value.created_at)}
            {value.status === "draft" && <span class="badge">Draft</span>}
          </p>
          <div class="told dreamt">
            {value.content.split(/\n+/).map((part, at) => (
              <p key={at}>{part}</p>
            ))}
          </div>
          {value.symbols.length > 0 && (
            <ul class="images" aria-label="Images">
              {value.symbols.map((symbol) => (
                <li key={symbol}>{symbol}</li>
              ))}
            </ul>
          )}
          {value.interpretation && (
            <section aria-labelledby="meaning">
              <h2 id="meaning">What it may mean</h2>
              <p class="told">{value.interpretation}</p>
            </section>
          )}
          <div class="ways spread">
            <a class="main" href={`/?dream=${id}`}>
              Talk on about this dream
            </a>
            {value.status === "draft" && (
              <button type="button" class="soft" onClick={() => void keep()}>
                Keep it
              </button>
            )}
            <button type="button" class="soft" onClick={() => edit(true)}>
              Change
            </button>
            <Deletion what="this dream" remove={remove} />
          </div>
        </article>
      )}
    </Frame>
  );
}

function Edit({ dream, done }: { dream: Dream; done: () => void }) {
  const [title, name] = useState(dream.title ?? "");
  const [content, write] = useState(dream.content);
  const [wrong, err] = useState("");

  async function save(event: Event) {
    event.preventDefault();
    try {
      await ask("patch", "/v1/dreams/{dream_id}", { path: { dream_id: dream.id }, body: { title: title || null, content } });
      done();
    } catch (error) {
      err(kindly(error));
    }
  }

  return (
    <form class="entry" onSubmit={(event) => void save(event)}>
      <h1 ref={arriving} tabIndex={-1}>
        Change the dream
      </h1>
      <label>
        <span>Title</span>
        <input type="text" maxLength={200} value={title} onInput={(event) => name(event.currentTarget.value)} />
      </label>
      <label>
        <span>Dream</span>
        <textarea rows={9} maxLength={5000} required value={content} onInput={(event) => write(event.currentTarget.value)} />
      </label>
      {wrong && (
        <p class="notice" role="alert">
          {wrong}
        </p>
      )}
      <div class="ways">
        <button type="submit" class="main">
          Save
        </button>
        <button type="button" class="quiet" onClick={done}>
          Leave it as it was
        </button>
      </div>
    </form>
  );
}
