// From the first page into a conversation: keep the written dream, ask for the microphone, open.
import { ask, type Dreamer, type InterpreterCard, Problem } from "../api/client";
import { go } from "../router";
import { microphone } from "../voice/call";
import { draft, region } from "./keeping";
import { Live, live } from "./live";

export interface Wish {
  interpreter: InterpreterCard;
  voice: boolean;
  text: string;
  dreamId: string | null;
}

/** A start that did not succeed; `kept` says that the dream is in the journal all the same. */
export class NotBegun extends Error {
  constructor(
    override readonly cause: unknown,
    readonly kept: string | null,
  ) {
    super(cause instanceof Error ? cause.message : "");
  }

  get away(): boolean {
    return this.cause instanceof Problem && this.cause.unreachable;
  }
}

let keeping: { text: string; once: string } | null = null;

export async function keepDream(text: string): Promise<string> {
  // The same words sent twice, by a second tap or after a lost answer, are one dream.
  if (keeping?.text !== text) keeping = { text, once: crypto.randomUUID() };
  const { id } = await ask("post", "/v1/dreams", { body: { content: text }, once: keeping.once });
  return id;
}

export async function begin({ interpreter, voice, text, dreamId }: Wish): Promise<void> {
  let dream = dreamId;
  let notice = "";
  try {
    if (!dream && text.trim()) dream = await keepDream(text.trim());
    const heard = voice ? await microphone() : "granted";
    notice = UNHEARD[heard];
    const spoken = voice && heard === "granted";
    const start = await ask("post", "/v1/conversations", {
      body: { interpreter_id: interpreter.id, dream_id: dream, text_only: !spoken },
    });
    draft.dream.set("");
    keeping = null;
    const talk = new Live(start.conversation_id, interpreter.id, (id) => go(`/after/${id}`, true));
    live.set(talk);
    go(`/talk/${start.conversation_id}`);
    await talk.begin(start, spoken, notice);
  } catch (error) {
    throw new NotBegun(error, dream);
  }
}

/** Why it is written although she wanted to speak. */
export const UNHEARD = {
  granted: "",
  silent: "No sound begins in this browser, so we write. That is just as good.",
  refused: "Your browser keeps the microphone closed, so we write. That is just as good.",
  absent: "There is no microphone here, so we write. That is just as good.",
};

export interface Agreement {
  consents: { voice?: boolean; memory: boolean };
  birthYear: number;
}

/** Note what was agreed to before the first conversation. */
export async function agree(me: Dreamer, { consents, birthYear }: Agreement): Promise<Dreamer> {
  const where = me.region ? {} : known(region.get());
  return ask("patch", "/v1/me", { body: { consents, birth_year: birthYear, ...where } });
}

const known = (code: string): { region?: string } => (/^[A-Z]{2}$/.test(code) ? { region: code } : {});

const GROWN = 18;

/** Whether somebody born in this year may talk here. */
export const grown = (birthYear: number): boolean => new Date().getFullYear() - birthYear >= GROWN;
