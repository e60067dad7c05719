import { useState } from "preact/hooks";
import { ask } from "../api/client";
import { dropToken } from "../api/token";
import { announce } from "./announce";
import { arriving } from "./focus";
import { kindly } from "./words";
import { forgetAll } from "../talk/keeping";
import { live } from "../talk/live";

/** Everything of hers, gone: told first, agreed to by hand, and only then done. */
export function Erasure({ done }: { done: () => void }) {
  const [step, go] = useState<"far" | "near" | "doing" | "kept">("far");
  const [sure, be] = useState(false);
  const [wrong, err] = useState("");

  async function erase(event: Event) {
    event.preventDefault();
    go("doing");
    try {
      await ask("delete", "/v1/me", { body: { confirm: "delete everything" } });
      live.set(null);
      forgetAll();
      dropToken();
      announce("Everything was deleted.");
      done();
    } catch (error) {
      err(kindly(error));
      go("near");
    }
  }

  if (step === "far" || step === "kept") {
    return (
      <button ref={step === "kept" ? arriving : null} type="button" class="quiet" onClick={() => go("near")}>
        Delete everything
      </button>
    );
  }
  return (
    <form class="notice erasing" aria-labelledby="erasing" onSubmit={(event) => void erase(event)}>
      <h3 ref={arriving} id="erasing" tabIndex={-1}>Delete everything?</h3>
      <p>
        Your dreams, every conversation, what was found in them and this profile: erased here, and at the speech service.
        Nobody can bring it back, not even we. There is no hurry; it can wait until the morning.
      </p>
      <label class="tick">
        <input type="checkbox" required checked={sure} onChange={(event) => be(event.currentTarget.checked)} />
        <span>I know that it cannot be brought back.</span>
      </label>
      {wrong && <p role="alert">{wrong}</p>}
      <div class="ways">
        <button type="button" class="soft" onClick={() => go("kept")}>
          Keep everything
        </button>
        <button type="submit" class="grave" disabled={!sure || step === "doing"}>
          {step === "doing" ? "Deleting …" : "Delete everything for good"}
        </button>
      </div>
    </form>
  );
}
