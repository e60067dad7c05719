import { useState } from "preact/hooks";
import { ask } from "../api/client";
import { Frame } from "../parts/Frame";
import { Lines } from "../parts/SafetyCard";
import { day, kindly } from "../parts/words";
import { useLoaded } from "../store";
import { region as own } from "../talk/keeping";

const NAMES = new Intl.DisplayNames(undefined, { type: "region", fallback: "code" });

export function Help() {
  const [region, move] = useState(own.get());
  const { value, failed } = useLoaded(
    () => ask("get", "/v1/help-lines", { query: { region: region || null, language: navigator.language } }),
    region,
  );
  return (
    <Frame title="Help lines" kind="narrow">
      <h1>People who listen</h1>
      <p class="lead">You do not need a reason that is good enough. They answer, and they do not judge.</p>
      {failed && (
        <p class="notice" role="alert">
          {kindly(failed)} In danger, please call your local emergency number. The directory findahelpline.com lists lines
          everywhere.
        </p>
      )}
      {value && (
        <>
          <label class="where">
            <span>Where you are</span>
            <select value={value.region} onChange={(event) => move(event.currentTarget.value)}>
              <option value="international">Somewhere else</option>
              {value.regions.map((code) => (
                <option key={code} value={code}>
                  {NAMES.of(code)}
                </option>
              ))}
            </select>
          </label>
          <Lines lines={value.emergency ? [value.emergency, ...value.lines] : value.lines} />
          <p class="hint">Checked on {day(value.checked)}. Numbers can change; your local emergency number always works.</p>
        </>
      )}
    </Frame>
  );
}
