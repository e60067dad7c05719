// The events of a conversation as they happen, read by fetch, so that the token stays a header.
import { Problem, reach } from "./client";

const WAITS_MS = [1000, 2000, 5000, 10_000, 20_000, 30_000];

/** Tell of each event's type, until the returned function is called or coming back has failed often enough. */
export function follow(conversation: string, told: (type: string) => void): () => void {
  const leaving = new AbortController();
  void attend(conversation, told, leaving.signal);
  return () => leaving.abort();
}

async function attend(conversation: string, told: (type: string) => void, signal: AbortSignal): Promise<void> {
  let last = "";
  for (let failed = 0; failed < WAITS_MS.length && !signal.aborted; failed += 1) {
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
      const path = { conversation_id: conversation };
      const { body } = await reach("get", "/v1/conversations/{conversation_id}/events", { path, headers, signal });
      for await (const event of events(body!)) {
        if (signal.aborted) return;
        // A server that speaks is one that can be come back to.
        failed = -1;
        last = event.id || last;
        told(event.type);
      }
    } catch (error) {
      if (signal.aborted || (error instanceof Problem && [403, 404].includes(error.status))) return;
    }
    await new Promise((done) => setTimeout(done, WAITS_MS[Math.max(0, failed)]));
  }
}

interface Told {
  id: string;
  type: string;
}

async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<Told> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const whole = (text + decoder.decode(part.value, { stream: true })).split("\n\n");
      text = whole.pop() ?? "";
      for (const block of whole) {
        const type = field(block, "event");
        if (type) yield { id: field(block, "id"), type };
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

const field = (block: string, name: string): string => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1] ?? "";
