// One voice for screen readers: whole lines and changes of state, never half a sentence.
import { createStore, useStore } from "../store";

const words = createStore({ text: "", turn: 0 });

export const announce = (text: string): void => {
  if (text) words.set({ text, turn: words.get().turn + 1 });
};

export function Announcer() {
  const { text, turn } = useStore(words);
  return (
    <div class="unseen" role="status" aria-live="polite">
      <p key={turn}>{text}</p>
    </div>
  );
}
