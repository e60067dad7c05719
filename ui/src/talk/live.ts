// A conversation while it lives: what was said, whose turn it is, and how it is held together when a line breaks.
import { ask, everything, type HelpCard, type Message, Problem, type Started, type Talk } from "../api/client";
import { createStore } from "../store";
import { type Call, type Hears, openCall } from "../voice/call";
import { spoken } from "./keeping";
import { Reports } from "./reports";

export type Phase = "connecting" | "listening" | "thinking" | "speaking" | "paused" | "rejoining" | "lost" | "ended";

export interface Line {
  key: string;
  sender: Message["sender"];
  text: string;
  /** Pieces still arrive. */
  open: boolean;
  /** From before a reload or a break. */
  earlier: boolean;
}

export interface Scene {
  phase: Phase;
  lines: Line[];
  voice: boolean;
  muted: boolean;
  hushed: boolean;
  card: HelpCard | null;
  /** How many lines stand before the card: it follows the words that called for it. */
  cardAt: number;
  notice: string;
  start: Started | null;
}

const RETRY_MS = [300, 1000, 2000, 4000, 8000, 8000];
/** How long a reply is held back from the report, in case it is corrected. */
const SETTLE_MS = 1200;

export class Live {
  readonly scene = createStore<Scene>({
    phase: "connecting",
    lines: [],
    voice: false,
    muted: false,
    hushed: false,
    card: null,
    cardAt: 0,
    notice: "",
    start: null,
  });
  private call: Call | null = null;
  private reports: Reports;
  private leaving = false;
  private unreported: { key: string; timer: ReturnType<typeof setTimeout> } | null = null;
  private calls = 0;
  private keys = 0;

  constructor(
    readonly id: string,
    readonly interpreterId: string,
    private readonly ended: (id: string) => void,
  ) {
    this.reports = new Reports(id, ({ card }) => card && this.show(card));
    addEventListener("pagehide", this.depart);
  }

  level = (): number => {
    const { phase, muted, hushed } = this.scene.get();
    if (!this.call?.voice) return 0;
    if (phase === "speaking") return hushed ? 0 : this.call.level("interpreter");
    return muted ? 0 : this.call.level("dreamer");
  };

  async begin(start: Started, voice: boolean, notice = ""): Promise<void> {
    const aloud = voice && !start.text_only;
    spoken.set(this.id, aloud);
    this.change({ start, voice: aloud, phase: "connecting", notice, card: start.help_card ?? null });
    await this.connect(start).catch(() => this.resume(0));
  }

  /** Come back to a conversation that this page does not hold any more. */
  async rejoin(voice: boolean): Promise<void> {
    this.change({ phase: "rejoining", voice });
    await this.recall();
    await this.resume(0);
  }

  async recall(): Promise<void> {
    const path = { conversation_id: this.id };
    const said = await everything((cursor) =>
      ask("get", "/v1/conversations/{conversation_id}/messages", { path, query: { limit: 100, cursor: cursor ?? null } }),
    );
    const lines = said.map(({ id, sender, content }) => ({ key: id, sender, text: content, open: false, earlier: true }));
    this.change({ lines });
  }

  write(text: string): void {
    if (!this.call) return;
    this.settle();
    this.add("user", text);
    this.reportIfDirect("user", text);
    this.call.write(text);
    this.change({ phase: "thinking", notice: "" });
  }

  private show(card: HelpCard): void {
    const last = this.scene.get().lines.findLastIndex(({ sender }) => sender === "user");
    this.change({ card, cardAt: last + 1 });
  }

  dismissCard(): void {
    this.change({ card: null });
  }

  typing(): void {
    this.call?.typing();
  }

  mute(): void {
    const muted = !this.scene.get().muted;
    this.call?.mute(muted);
    this.change({ muted });
  }

  /** Be quiet for the rest of this reply; its words can still be read. */
  hush(): void {
    this.call?.hush(true);
    this.change({ hushed: true });
  }

  /** Let it rest; it can be come back to until the server has waited long enough. */
  async pause(): Promise<void> {
    if (["paused", "lost", "ended"].includes(this.scene.get().phase)) return;
    this.leaving = true;
    this.change({ phase: "paused", notice: "" });
    await this.deliver();
    await ask("post", "/v1/conversations/{conversation_id}/pause", { path: { conversation_id: this.id } }).catch(() => null);
    await this.drop();
  }

  async comeBack(): Promise<void> {
    this.change({ phase: "rejoining", notice: "" });
    await this.resume(0);
  }

  async end(): Promise<Talk> {
    this.leaving = true;
    this.change({ phase: "ended" });
    await this.deliver();
    // Told first and hung up then, so that the summary is there with the answer.
    const talk = await this.tellEnd("user_ended").finally(() => this.drop());
    return talk;
  }

  private async tellEnd(reason: "user_ended" | "agent_ended" | "error"): Promise<Talk> {
    removeEventListener("pagehide", this.depart);
    return ask("post", "/v1/conversations/{conversation_id}/end", { path: { conversation_id: this.id }, body: { reason } });
  }

  private async connect(start: Started): Promise<void> {
    this.leaving = false;
    this.calls += 1;
    const number = this.calls;
    const call = await openCall(start, this.scene.get().voice, this.hears(number));
    if (number !== this.calls) {
      // She left while it rang.
      await call.hangUp().catch(() => null);
      return;
    }
    this.call = call;
    this.call.mute(this.scene.get().muted);
    if (start.transport === "direct") {
      const path = { conversation_id: this.id };
      const body = { elevenlabs_conversation_id: this.call.id };
      void ask("post", "/v1/conversations/{conversation_id}/connected", { path, body }).catch(() => null);
    }
    if (this.scene.get().phase !== "speaking") this.change({ phase: "listening" });
  }

  private hears(number: number): Hears {
    const mine = <A extends unknown[]>(does: (...given: A) => void) => (...given: A) => {
      if (number === this.calls) does(...given);
    };
    const key = (turn: number) => `${number}:${turn}`;
    return {
      heard: mine((text) => {
        this.settle();
        this.add("user", text);
        this.reportIfDirect("user", text);
        this.change({ phase: "thinking" });
      }),
      said: mine((text, turn) => this.whole(key(turn), text)),
      piece: mine((text, kind, turn) => this.piece(key(turn), text, kind)),
      corrected: mine((text, turn) => this.put(key(turn), text, false)),
      interrupted: mine(() => this.unhush()),
      mode: mine((mode) => this.turnTo(mode)),
      safety: mine((card) => card && this.show(card)),
      degraded: mine(() => this.change({ notice: "The voice platform is away; a simpler voice goes on with you." })),
      ending: mine(() => this.change({ notice: "This conversation will have to end in a moment." })),
      closed: mine((details) => void this.closed(details)),
    };
  }

  private turnTo(mode: "speaking" | "listening"): void {
    const { phase } = this.scene.get();
    if (mode === "listening") this.unhush();
    if (mode === "listening" && phase !== "speaking") return;
    this.change({ phase: mode });
  }

  private unhush(): void {
    if (!this.scene.get().hushed) return;
    this.call?.hush(false);
    this.change({ hushed: false });
  }

  private whole(key: string, text: string): void {
    this.settle();
    this.put(key, text, false);
    this.unreported = { key, timer: setTimeout(() => this.settle(), SETTLE_MS) };
    if (!this.scene.get().voice) this.change({ phase: "listening" });
  }

  private piece(key: string, text: string, kind: "start" | "delta" | "stop"): void {
    const before = this.scene.get().lines.find((line) => line.key === key)?.text ?? "";
    this.put(key, before + text, kind !== "stop");
    this.change({ phase: kind === "stop" ? "listening" : "speaking" });
  }

  private async closed(details: { reason: string; closeCode?: number }): Promise<void> {
    this.call = null;
    if (this.leaving) return;
    await this.deliver();
    if (details.reason === "agent") {
      this.leaving = true;
      this.change({ phase: "ended" });
      await this.tellEnd("agent_ended").catch(() => null);
      this.ended(this.id);
      return;
    }
    this.change({ phase: "rejoining", notice: "The line broke. Finding you again …" });
    await this.resume(0);
  }

  private async resume(attempt: number): Promise<void> {
    await new Promise((done) => setTimeout(done, attempt || this.calls ? RETRY_MS[attempt] : 0));
    if (this.leaving && this.scene.get().phase !== "rejoining") return;
    try {
      const path = { conversation_id: this.id };
      const start = await ask("post", "/v1/conversations/{conversation_id}/resume", { path });
      this.change({ start });
      await this.connect(start);
      this.change({ notice: this.calls > 1 ? "The line is back." : "" });
    } catch (error) {
      if (error instanceof Problem && error.code === "conversation_ended") this.ended(this.id);
      else if (attempt + 1 < RETRY_MS.length && !(error instanceof Problem && error.status === 404)) {
        await this.resume(attempt + 1);
      } else this.change({ phase: "lost", notice: "" });
    }
  }

  private add(sender: Message["sender"], text: string): void {
    this.keys += 1;
    this.put(`own:${this.keys}`, text, false, sender);
  }

  private put(key: string, text: string, open: boolean, sender: Message["sender"] = "interpreter"): void {
    const { lines } = this.scene.get();
    const line: Line = { key, sender, text, open, earlier: false };
    const place = lines.findIndex((known) => known.key === key);
    this.change({ lines: place < 0 ? [...lines, line] : lines.with(place, line) });
  }

  /** Report the last reply as it stands now. */
  private settle(): void {
    if (!this.unreported) return;
    const { key, timer } = this.unreported;
    this.unreported = null;
    clearTimeout(timer);
    const line = this.scene.get().lines.find((known) => known.key === key);
    if (line) this.reportIfDirect("interpreter", line.text);
  }

  private reportIfDirect(sender: Message["sender"], text: string): void {
    if (this.scene.get().start?.transport === "direct") this.reports.add(sender, text);
  }

  private async deliver(): Promise<void> {
    this.settle();
    await this.reports.flush();
  }

  private async drop(): Promise<void> {
    const call = this.call;
    this.call = null;
    this.calls += 1;
    await call?.hangUp().catch(() => null);
  }

  private depart = (): void => {
    this.settle();
    void this.reports.flush(true);
  };

  private change(part: Partial<Scene>): void {
    this.scene.set({ ...this.scene.get(), ...part });
  }
}

/** The conversation this page holds, if any. */
let held: Live | null = null;
export const live = { get: (id: string) => (held?.id === id ? held : null), set: (one: Live | null) => void (held = one) };
