// Who speaks to the API. A page that embeds this one hands over its session, in the fragment or by a message; on the
// dreamer's own machine the server signs her in.
import { createStore } from "../store";

const KEY = "oneiro.token";
const MESSAGE = "oneiro.token";

export const signedOut = createStore(false);

let held: string | null = fromFragment() ?? sessionStorage.getItem(KEY);
let waiting: Promise<string | null> | null = null;

function fromFragment(): string | null {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return null;
  // A token in the address would be shared with the address.
  history.replaceState(history.state, "", location.pathname + location.search);
  return keep(given);
}

function keep(value: string): string {
  sessionStorage.setItem(KEY, value);
  held = value;
  return value;
}

export const embedders = (): string[] =>
  (document.querySelector<HTMLMetaElement>('meta[name="oneiro-embedders"]')?.content ?? "").split(" ").filter(Boolean);

addEventListener("message", (event: MessageEvent) => {
  const data: unknown = event.data;
  if (!embedders().includes(event.origin) || typeof data !== "object" || data === null) return;
  const { type, token: value } = data as { type?: unknown; token?: unknown };
  if (type !== MESSAGE || typeof value !== "string") return;
  keep(value);
  signedOut.set(false);
  arrived?.(value);
});

let arrived: ((value: string) => void) | null = null;

export async function token(): Promise<string | null> {
  return held ?? (waiting ??= fetchToken().finally(() => (waiting = null)));
}

export async function renewToken(): Promise<string | null> {
  dropToken();
  return token();
}

/** Let go of the session, without asking for another. */
export function dropToken(): void {
  held = null;
  sessionStorage.removeItem(KEY);
}

async function fetchToken(): Promise<string | null> {
  const fresh = (await fromParent()) ?? (await fromThisMachine());
  if (fresh) return keep(fresh);
  signedOut.set(true);
  return null;
}

async function fromParent(): Promise<string | null> {
  const parents = embedders();
  if (window.parent === window || parents.length === 0) return null;
  const answer = new Promise<string | null>((resolve) => {
    arrived = resolve;
    setTimeout(() => resolve(null), 5000);
  });
  for (const origin of parents) window.parent.postMessage({ type: "oneiro.needs_token" }, origin);
  return answer;
}

async function fromThisMachine(): Promise<string | null> {
  const response = await fetch("/v1/dev/session", { method: "POST" }).catch(() => null);
  return response?.ok ? ((await response.json()) as { token: string }).token : null;
}
