// What a closed window must not lose: words not yet sent, and which conversation was open and how.
const read = (key: string): string => {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
};

const write = (key: string, value: string): void => {
  try {
    if (value) localStorage.setItem(key, value);
    else localStorage.removeItem(key);
  } catch {
    // A browser that keeps nothing still lets people talk.
  }
};

export const draft = {
  dream: { get: () => read("oneiro.draft"), set: (text: string) => write("oneiro.draft", text) },
  line: (id: string) => ({ get: () => read(`oneiro.line.${id}`), set: (text: string) => write(`oneiro.line.${id}`, text) }),
};

export const spoken = {
  get: (id: string): boolean => read(`oneiro.voice.${id}`) === "yes",
  set: (id: string, voice: boolean) => write(`oneiro.voice.${id}`, voice ? "yes" : ""),
};

export const lastWith = { get: () => read("oneiro.with"), set: (id: string) => write("oneiro.with", id) };

export const worn = { get: () => read("oneiro.colours"), set: (colours: string) => write("oneiro.colours", colours) };

export const agreed = {
  get: (): boolean => read("oneiro.agreed") === "1",
  set: () => write("oneiro.agreed", "1"),
};

/** Where she is, for the help lines; the profile knows it, and a page without a session remembers it. */
export const region = {
  get: (): string => read("oneiro.region") || (new Intl.Locale(navigator.language).region ?? ""),
  set: (code: string) => write("oneiro.region", code),
};

/** Forget everything of hers that this browser holds. */
export function forgetAll(): void {
  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith("oneiro.") && key !== "oneiro.theme") localStorage.removeItem(key);
  } catch {
    // Nothing was kept.
  }
}

export const theme = {
  get: (): "night" | "day" => (read("oneiro.theme") === "day" ? "day" : "night"),
  set: (value: "night" | "day") => {
    write("oneiro.theme", value);
    document.documentElement.dataset["theme"] = value;
  },
};
