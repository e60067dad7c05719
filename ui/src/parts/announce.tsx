// One voice for screen readers: whole lines and changes of state, never half a sentence.
import { createStore, useStore } from "../store";

/** What came shortly before stays: of two things said in one moment, the first would not be heard. */
const KEPT = 3;

const words = createStore<{ text: string; turn: number }[]>([]);

export const announce = (text: string): void => {
  const said = words.get();
  if (text) words.set([...said.slice(1 - KEPT), { text, turn: (said.at(-1)?.turn ?? 0) + 1 }]);
};

export function Announcer() {
  return (
    <div class="unseen" role="status" aria-live="polite" aria-atomic="false">
      {useStore(words).map(({ text, turn }) => (
        <p key={turn}>{text}</p>
      ))}
    </div>
  );
}
