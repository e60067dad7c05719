import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { travelled } from "../router";
import { theme } from "../talk/keeping";
import { Icon } from "./Icon";

/** The platform is simulated: the server writes it into the page, so that it is seen on arriving. */
const DEMO = document.querySelector<HTMLMetaElement>('meta[name="oneiro-demo"]')?.content === "yes";

/** A page with the quiet line above it and the way to help below. */
export function Frame({ title, children, kind = "" }: { title: string; children: ComponentChildren; kind?: string }) {
  useEffect(() => {
    document.title = title === "Oneiro" ? title : `${title} · Oneiro`;
  }, [title]);
  const main = useRef<HTMLElement>(null);
  // The link that led here is gone; a browser that loads a page would begin at its top, too.
  useEffect(() => void (travelled() && main.current?.focus({ preventScroll: true })), []);
  return (
    <div class={`frame ${kind}`}>
      <a class="skip" href="#main">
        To the content
      </a>
      <header class="above">
        <div class="name">
          <a class="wordmark" href="/" aria-label="Oneiro, to the beginning">
            Oneiro
          </a>
          {DEMO && <span class="badge">Demo</span>}
        </div>
        <nav aria-label="Pages">
          <a class="quiet" href="/journal">
            <Icon name="book" />
            <span>Journal</span>
          </a>
          <a class="quiet" href="/you">
            <Icon name="person" />
            <span>You</span>
          </a>
          <ThemeButton />
        </nav>
      </header>
      <main ref={main} id="main" tabIndex={-1} aria-label={title}>
        {children}
      </main>
      <footer class="below">
        <p>{DEMO ? "A demo, without a voice service. " : ""}An AI, not a clinician.</p>
        <a href="/help">Help lines</a>
      </footer>
    </div>
  );
}

function ThemeButton() {
  const [worn, wear] = useState(theme.get());
  const other = worn === "night" ? "day" : "night";
  return (
    <button
      type="button"
      class="quiet"
      aria-label={other === "day" ? "Light for the day" : "Dark for the night"}
      onClick={() => {
        theme.set(other);
        wear(other);
      }}
    >
      <Icon name={other === "day" ? "sun" : "moon"} />
    </button>
  );
}
