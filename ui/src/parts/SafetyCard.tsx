import { useEffect, useRef } from "preact/hooks";
import type { HelpCard, HelpLine } from "../api/client";
import { announce } from "./announce";
import { Icon } from "./Icon";

// A card that fills the screen would hide the words it stands beside.
const NEAREST = 3;

/** Stands in the flow above the transcript: it covers nothing, and nobody is hung up on. */
export function SafetyCard({ card, close }: { card: HelpCard; close: () => void }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    announce(`${card.title}. ${card.text}`);
    heading.current?.scrollIntoView({ block: "start", behavior: "smooth" });
  }, [card]);
  return (
    <section class="care" aria-labelledby="care-title">
      <h2 id="care-title" ref={heading}>
        {card.title}
      </h2>
      <p>{card.text}</p>
      <Lines lines={card.lines.slice(0, NEAREST)} />
      <div class="ways">
        <a class="quiet" href="/help" target="_blank" rel="noreferrer">
          All help lines<span class="unseen"> (in a new tab)</span>
        </a>
        <button type="button" class="quiet" onClick={close}>
          Put this aside
        </button>
      </div>
    </section>
  );
}

export function Lines({ lines }: { lines: readonly HelpLine[] }) {
  return (
    <ul class="lines">
      {lines.map((line) => (
        <li key={`${line.name}${line.phone ?? line.url}`}>
          <div>
            <strong>{line.name}</strong>
            <small>{[line.hours, spoken(line)].filter(Boolean).join(" · ")}</small>
          </div>
          <div class="reach">
            {line.tel && (
              <a class="call" href={`tel:${line.tel}`}>
                <Icon name="phone" />
                Call {line.phone}
              </a>
            )}
            {line.text_to && (
              <a class="call" href={`sms:${line.text_to}`}>
                Text {line.text_to}
              </a>
            )}
            {!line.tel && !line.text_to && line.url && (
              <a class="call" href={line.url} target="_blank" rel="noreferrer">
                Open<span class="unseen"> {line.name}, in a new tab</span>
              </a>
            )}
          </div>
        </li>
      ))}
    </ul>
  );
}

function spoken({ languages }: HelpLine): string {
  const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
  return languages.map((code) => names.of(code) ?? code).join(", ");
}
