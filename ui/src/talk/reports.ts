// Lines that only this page has heard (direct transport) go to the API, in order, until it has them.
import { ask, type Message, Problem, type Schemas } from "../api/client";

export type Line = Schemas["NewMessage"];
type Safety = NonNullable<Schemas["Stored"]["safety"]>;

const AGAIN_MS = 2000;

export class Reports {
  private waiting: Line[] = [];
  private sending: Promise<void> | null = null;
  private numbers = 0;
  // Two pages, or a page and its reload, must not name two lines alike.
  private readonly prefix = crypto.randomUUID().slice(0, 8);

  constructor(
    private readonly conversation: string,
    private readonly flagged: (safety: Safety) => void,
  ) {}

  add(sender: Message["sender"], content: string): void {
    if (!content.trim()) return;
    this.numbers += 1;
    const event_id = `${this.prefix}:${sender}:${this.numbers}`;
    this.waiting.push({ event_id, sender, content, timestamp: new Date().toISOString() });
    void this.flush();
  }

  /** Resolves when everything so far was taken, or could not be for now. */
  flush(keepalive = false): Promise<void> {
    return (this.sending ??= this.send(keepalive).finally(() => (this.sending = null)));
  }

  private async send(keepalive: boolean): Promise<void> {
    while (this.waiting.length) {
      const messages = this.waiting.slice(0, 100);
      try {
        const path = { conversation_id: this.conversation };
        const stored = await ask("post", "/v1/conversations/{conversation_id}/messages", {
          path,
          body: { messages },
          keepalive,
        });
        this.waiting.splice(0, messages.length);
        if (stored.safety) this.flagged(stored.safety);
      } catch (error) {
        if (error instanceof Problem && !error.unreachable && error.status !== 429) this.waiting.splice(0, messages.length);
        else setTimeout(() => void this.flush(), AGAIN_MS);
        return;
      }
    }
  }
}
