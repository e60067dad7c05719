import { useState } from "preact/hooks";
import { exportAll } from "../talk/export";
import { kindly } from "./words";

/** Everything as one file, for her to keep. */
export function TakeAlong() {
  const [busy, work] = useState(false);
  const [wrong, err] = useState("");
  async function take() {
    work(true);
    err("");
    await exportAll().catch((error: unknown) => err(kindly(error)));
    work(false);
  }
  return (
    <>
      <button type="button" class="soft" disabled={busy} onClick={() => void take()}>
        {busy ? "Gathering …" : "Download everything"}
      </button>
      {wrong && (
        <p class="hint" role="alert">
          {wrong}
        </p>
      )}
    </>
  );
}
