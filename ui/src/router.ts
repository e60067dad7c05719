import { createStore, useStore } from "./store";

const place = createStore(location.pathname);
let gone = false;
addEventListener("popstate", () => {
  gone = true;
  place.set(location.pathname);
});

/** Whether she came to this view from another, without a load of the page. */
export const travelled = (): boolean => gone;

export type Route =
  | { view: "home"; interpreter: string | null; dream: string | null }
  | { view: "talk" | "after" | "conversation" | "dream"; id: string }
  | { view: "journal" | "help" | "you" | "lost" };

const UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";

export function useRoute(): Route {
  return read(useStore(place));
}

export function read(path: string): Route {
  const query = new URLSearchParams(location.search);
  if (path === "/") return { view: "home", interpreter: query.get("with"), dream: query.get("dream") };
  const one = new RegExp(`^/(talk|after|conversations|dreams)/(${UUID})$`).exec(path);
  if (one) return { view: VIEWS[one[1] as keyof typeof VIEWS], id: one[2]! };
  if (path === "/journal" || path === "/help" || path === "/you") return { view: path.slice(1) as "journal" };
  return { view: "lost" };
}

const VIEWS = { talk: "talk", after: "after", conversations: "conversation", dreams: "dream" } as const;

export function go(path: string, replace = false): void {
  if (path === location.pathname + location.search) return;
  gone = true;
  history[replace ? "replaceState" : "pushState"]({}, "", path);
  place.set("");
  place.set(location.pathname);
  scrollTo(0, 0);
}

/** Lets links be links, and spares the reload. */
export function follow(event: MouseEvent): void {
  const link = (event.target as Element).closest?.("a");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || link.origin !== location.origin || link.target || link.hasAttribute("download")) return;
  if (link.hash && link.pathname === location.pathname) return;
  event.preventDefault();
  go(link.pathname + link.search);
}
