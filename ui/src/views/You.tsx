import { useState } from "preact/hooks";
import { ask, type Dreamer } from "../api/client";
import { me } from "../api/known";
import { announce } from "../parts/announce";
import { BirthYear } from "../parts/BirthYear";
import { Erasure } from "../parts/Erasure";
import { Frame } from "../parts/Frame";
import { Still } from "../parts/Still";
import { TakeAlong } from "../parts/TakeAlong";
import { kindly } from "../parts/words";
import { useLoaded } from "../store";
import { region as remembered } from "../talk/keeping";

export function You() {
  const { value, failed } = useLoaded(me, "me");
  const [gone, go] = useState(false);
  if (gone) return <Gone />;
  return (
    <Frame title="You" kind="narrow">
      <h1>You</h1>
      {failed && (
        <p class="notice" role="alert">
          {kindly(failed)}
        </p>
      )}
      {value && <Profile dreamer={value} />}
      {value && (
        <section aria-labelledby="yours">
          <h2 id="yours">What is yours</h2>
          <p class="told">
            {value.minutes_today > 0.5 && `You talked for ${minutes(value.minutes_today)} today. `}
            Everything you told is kept as text until you delete it, dream by dream and talk by talk in the{" "}
            <a href="/journal">journal</a>, or all at once here.
          </p>
          <div class="ways yours">
            <TakeAlong />
            <Erasure done={() => go(true)} />
          </div>
        </section>
      )}
    </Frame>
  );
}

const minutes = (count: number): string => (count < 1.5 ? "a minute" : `${Math.round(count)} minutes`);

function Gone() {
  return (
    <Frame title="Everything is deleted" kind="bare">
      <Still
        instead
        title="Everything is deleted"
        words="Nothing of yours is left here. Thank you for what you told. The next dream is always a new one."
      >
        <a class="soft" href="/">
          To the beginning
        </a>
      </Still>
    </Frame>
  );
}

const NAMES = new Intl.DisplayNames(undefined, { type: "region", fallback: "code" });
const REGION = /^[A-Z]{2}$/;

function Profile({ dreamer }: { dreamer: Dreamer }) {
  const [name, call] = useState(dreamer.name ?? "");
  const [region, move] = useState(dreamer.region ?? "");
  const [year, born] = useState(dreamer.birth_year ? String(dreamer.birth_year) : "");
  const [consents, allow] = useState(dreamer.consents);
  const [said, say] = useState("");
  const help = useLoaded(() => ask("get", "/v1/help-lines", {}), "regions");
  const regions = [...new Set([...(help.value?.regions ?? []), dreamer.region ?? ""])].filter((code) => REGION.test(code));

  async function save(event: Event) {
    event.preventDefault();
    const known = { ...(region && { region }), ...(year && { birth_year: Number(year) }) };
    try {
      await ask("patch", "/v1/me", { body: { name: name.trim() || null, consents, ...known } });
      if (region) remembered.set(region);
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
    <form class="entry" onSubmit={(event) => void save(event)}>
      <label>
        <span>What may we call you?</span>
        <input type="text" autocomplete="given-name" maxLength={100} value={name} onInput={(event) => call(event.currentTarget.value)} />
      </label>
      <div class="beside">
        <label>
          <span>Help lines for</span>
          <select value={region} onChange={(event) => move(event.currentTarget.value)}>
            {!dreamer.region && <option value="">Not said</option>}
            {regions.map((code) => (
              <option key={code} value={code}>
                {NAMES.of(code)}
              </option>
            ))}
          </select>
        </label>
        <BirthYear label="Born in" year={year} born={born} required={Boolean(dreamer.birth_year)} />
      </div>
      <fieldset class="ticks">
        <legend>What you allow</legend>
        {tick("voice", "My voice may go to the speech service.", "Without it we write.")}
        {tick("memory", "Earlier talks may be remembered.", "Only by the one you talked with.")}
        {tick("analytics", "What my talks are about may be counted.", "Themes and moods, never words.")}
      </fieldset>
      <div class="ways">
        <button type="submit" class="main">
          Save
        </button>
        {said && (
          <p class="hint" role="status">
            {said}
          </p>
        )}
      </div>
    </form>
  );
}
