import { useState } from "preact/hooks";
import { ask, type Dreamer } from "../api/client";
import { me } from "../api/known";
import { announce } from "../parts/announce";
import { Frame } from "../parts/Frame";
import { kindly } from "../parts/words";
import { useLoaded } from "../store";
import { exportAll } from "../talk/export";

export function You() {
  const { value, failed } = useLoaded(me, "me");
  return (
    <Frame title="You" kind="narrow">
      <h1>You</h1>
      {failed && (
        <p class="notice" role="alert">
          {kindly(failed)}
        </p>
      )}
      {value && <Profile dreamer={value} />}
    </Frame>
  );
}

function Profile({ dreamer }: { dreamer: Dreamer }) {
  const [name, call] = useState(dreamer.name ?? "");
  const [consents, allow] = useState(dreamer.consents);
  const [said, say] = useState("");

  async function save(event: Event) {
    event.preventDefault();
    try {
      await ask("patch", "/v1/me", { body: { name: name.trim() || null, consents } });
      say("Saved.");
      announce("Saved.");
    } catch (error) {
      say(kindly(error));
    }
  }

  const tick = (key: keyof typeof consents, words: string, more: string) => (
    <label class="tick">
      <input type="checkbox" checked={consents[key]} onChange={(event) => allow({ ...consents, [key]: event.currentTarget.checked })} />
      <span>
        {words} <small>{more}</small>
      </span>
    </label>
  );

  return (
    <>
      <form class="entry" onSubmit={(event) => void save(event)}>
        <label>
          <span>What may we call you?</span>
          <input type="text" autocomplete="given-name" maxLength={100} value={name} onInput={(event) => call(event.currentTarget.value)} />
        </label>
        <fieldset class="ticks">
          <legend>What you allow</legend>
          {tick("voice", "My voice may go to the speech service.", "Without it we write.")}
          {tick("memory", "Earlier talks may be remembered.", "By the one you talked with.")}
          {tick("analytics", "My talks may be counted.", "Numbers, never words.")}
        </fieldset>
        <div class="ways">
          <button type="submit" class="main">
            Save
          </button>
        </div>
        {said && <p class="hint">{said}</p>}
      </form>
      <section aria-labelledby="yours">
        <h2 id="yours">What is yours</h2>
        <p class="told">
          {dreamer.minutes_today > 0.5 && `You talked for ${Math.round(dreamer.minutes_today)} minutes today. `}
          Everything you told is kept as text until you delete it, dream by dream, talk by talk, in the{" "}
          <a href="/journal">journal</a>.
        </p>
        <button type="button" class="soft" onClick={() => void exportAll()}>
          Take everything with me
        </button>
      </section>
    </>
  );
}
