import { useState } from "preact/hooks";
import { arriving } from "./focus";
import { kindly } from "./words";

/** Asks once more, in place, before something is gone for good. */
export function Deletion({ what, remove }: { what: string; remove: () => Promise<void> }) {
  const [sure, ask] = useState<boolean | null>(null);
  const [wrong, err] = useState("");
  if (!sure) {
    return (
      <button ref={sure === false ? arriving : null} type="button" class="quiet" onClick={() => ask(true)}>
        Delete {what}
      </button>
    );
  }
  return (
    <div ref={arriving} class="notice" role="group" tabIndex={-1} aria-label={`Delete ${what}`}>
      <p role={wrong ? "alert" : undefined}>{wrong || `Delete ${what} for good? This cannot be undone.`}</p>
      <div class="ways">
        <button type="button" class="grave" onClick={() => void remove().catch((error: unknown) => err(kindly(error)))}>
          Delete for good
        </button>
        <button type="button" class="quiet" onClick={() => ask(false)}>
          Keep
        </button>
      </div>
    </div>
  );
}
