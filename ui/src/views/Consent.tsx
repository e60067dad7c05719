import { useEffect, useRef, useState } from "preact/hooks";
import type { Dreamer } from "../api/client";
import { BirthYear, young } from "../parts/BirthYear";
import { kindly } from "../parts/words";
import { agree } from "../talk/begin";
import { agreed as remembered } from "../talk/keeping";

interface Props {
  me: Dreamer;
  name: string;
  voice: boolean;
  close: () => void;
  agreed: () => void;
}

/** Asked once, before the first word or the first sound. */
export function Consent({ me, name, voice, close, agreed }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const [year, born] = useState(me.birth_year ? String(me.birth_year) : "");
  const [memory, remember] = useState(me.consents.memory ?? false);
  const [wrong, err] = useState("");
  useEffect(() => {
    dialog.current?.showModal();
    // Else it would begin at the first link, in the middle of what is to be read.
    heading.current?.focus();
  }, []);

  async function say(event: Event) {
    event.preventDefault();
    if (young(year)) return;
    try {
      await agree(me, { consents: voice ? { voice: true, memory } : { memory }, birthYear: Number(year) });
      remembered.set();
      agreed();
    } catch (error) {
      err(kindly(error));
    }
  }

  return (
    <dialog ref={dialog} class="sheet" aria-labelledby="consent-title" onClose={close}>
      <form onSubmit={(event) => void say(event)}>
        <h2 ref={heading} id="consent-title" tabIndex={-1}>Before we begin</h2>
        <ul class="plain">
          <li>
            <strong>{name} is an AI</strong>, not a human being and not a clinician. It can be wrong. What a dream means is
            yours to say.
          </li>
          {voice && (
            <li>
              <strong>Your voice</strong> goes to the speech service while you talk, so that it can be understood. It is
              not recorded. Your browser may ask first.
            </li>
          )}
          <li>
            <strong>Your words</strong> are kept as text for you alone, until you delete them.
          </li>
          <li>
            <strong>If you are in danger</strong>, this is not the place that can help: please call the{" "}
            <a href="/help" target="_blank" rel="noreferrer">
              help lines<span class="unseen"> (in a new tab)</span>
            </a>
            .
          </li>
        </ul>
        <BirthYear label="The year you were born" year={year} born={born} required why="For people of 18 and older." />
        <label class="tick">
          <input type="checkbox" checked={memory} onChange={(event) => remember(event.currentTarget.checked)} />
          <span>
            {name} may remember our earlier talks. <small>You can change this at any time.</small>
          </span>
        </label>
        {wrong && (
          <p class="notice" role="alert">
            {wrong}
          </p>
        )}
        <div class="ways closing">
          <button type="submit" class="main" disabled={young(year)}>
            {voice ? "Agree and speak" : "Agree and begin"}
          </button>
          <button type="button" class="quiet" onClick={() => dialog.current?.close()}>
            Not now
          </button>
        </div>
      </form>
    </dialog>
  );
}
