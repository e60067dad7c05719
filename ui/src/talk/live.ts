// A conversation while it lives: what was said, whose turn it is, and how it is held together when a line breaks.
import { ask, everything, type HelpCard, type Message, Problem, type Started, type Talk } from "../api/client";
import { follow } from "../api/stream";
import { createStore } from "../store";
import { type Call, type Hears, openCall } from "../voice/call";
import { afterwards, AWAY, BACK, closing, RESTORED, retry, unreached } from "./endings";
import { spoken } from "./keeping";
import { Reports } from "./reports";

export type Phase =
  | "connecting"
  | "listening"
  | "thinking"
  | "speaking"
  | "paused"
  | "rejoining"
  | "lost"
  | "elsewhere"
  | "ended";

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
  /** The platform is away, and somebody of ours goes on in writing. */
  degraded: boolean;
  /** The conversation is about to end by itself: why, and the words to part with. */
  parting: { reason: string; words: string } | null;
  card: HelpCard | null;
  /** How many lines stand before the card: it follows the words that called for it. */
  cardAt: number;
  notice: string;
  start: Started | null;
}

/** How long a reply is held back from the report, in case it is corrected. */
const SETTLE_MS = 1200;
/** How long a reply to words of danger may take, before the words that came with the card stand in for it. */
const CARE_MS = 2500;
/** In these nobody is connected: what happens to the conversation comes by its events. */
const APART: readonly Phase[] = ["paused", "lost", "elsewhere"];
export const OVER: readonly string[] = ["conversation.ended", "conversation.failed", "conversation.deleted"];

export class Live {
  readonly scene = createStore<Scene>({
    phase: "connecting",
    lines: [],
    voice: false,
    muted: false,
    hushed: false,
    degraded: false,
    parting: null,
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
  /** She came to speak, and speaks again when that is possible again. */
  private aloud = false;
  private unfollow: (() => void) | null = null;

  constructor(
    readonly id: string,
    readonly interpreterId: string,
    private readonly ended: (id: string) => void,
  ) {
    this.reports = new Reports(id, ({ card }) => card && this.show(card));
    addEventListener("pagehide", this.depart);
    addEventListener("online", this.online);
  }

  level = (): number => {
    const { phase, voice, muted, hushed } = this.scene.get();
    if (!this.call || !voice) return 0;
    if (phase === "speaking") return hushed ? 0 : this.call.level("interpreter");
    return muted ? 0 : this.call.level("dreamer");
  };

  async begin(start: Started, voice: boolean, notice = ""): Promise<void> {
    this.aloud = voice;
    spoken.set(this.id, voice);
    this.change({ phase: "connecting", notice, card: start.help_card ?? null });
    this.take(start);
    await this.connect(start).catch((error: unknown) => this.broken(codeOf(error)));
  }

  /** What a start or a resume answered; while the platform is away it is writing, whatever she came for. */
  private take(start: Started): void {
    const { degraded, notice } = this.scene.get();
    const words = start.degraded ? AWAY(this.aloud) : degraded ? RESTORED(this.aloud) : notice;
    this.change({ start, voice: this.aloud && !start.text_only, degraded: start.degraded ?? false, notice: words });
  }

  /** Come back to a conversation that this page does not hold any more. */
  async rejoin(voice: boolean, notice = ""): Promise<void> {
    this.aloud = voice;
    this.change({ phase: "rejoining", voice, notice });
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
    this.change({ phase: "thinking", notice: "", parting: null });
  }

  private show(card: HelpCard, words: string | null = null): void {
    const last = this.scene.get().lines.findLastIndex(({ sender }) => sender === "user");
    this.change({ card, cardAt: last + 1 });
    if (!words || !this.scene.get().voice) return;
    // The relay stops a reply that was begun without knowing; what is said in its place must not be silence.
    setTimeout(() => {
      const { lines } = this.scene.get();
      if (lines.findLastIndex(({ sender }) => sender === "interpreter") > last) return;
      this.add("interpreter", words);
      this.change({ phase: "listening" });
    }, CARE_MS);
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
    if ([...APART, "ended"].includes(this.scene.get().phase)) return;
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
    this.forget();
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
    if (!this.scene.get().voice) void this.call.deafen();
    if (start.transport === "direct") {
      const path = { conversation_id: this.id };
      const body = { elevenlabs_conversation_id: this.call.id };
      void ask("post", "/v1/conversations/{conversation_id}/connected", { path, body }).catch(() => null);
    }
    if (this.scene.get().phase !== "speaking") this.change({ phase: "listening" });
  }

  /** Nothing that happens in the window concerns this conversation any more. */
  private forget(): void {
    removeEventListener("pagehide", this.depart);
    removeEventListener("online", this.online);
    this.unfollow?.();
    this.unfollow = null;
  }

  /** It is over, by whatever means: on to what stays of it. */
  private async over(): Promise<void> {
    if (this.scene.get().phase === "ended") return;
    this.leaving = true;
    this.change({ phase: "ended" });
    await this.drop();
    this.forget();
    this.ended(this.id);
  }

  private online = (): void => {
    if (this.scene.get().phase === "lost") void this.comeBack();
  };

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
        this.change({ phase: "thinking", parting: null });
      }),
      said: mine((text, turn) => this.whole(key(turn), text)),
      piece: mine((text, kind, turn) => this.piece(key(turn), text, kind)),
      corrected: mine((text, turn) => (text.trim() ? this.put(key(turn), text, false) : this.unsay(key(turn)))),
      interrupted: mine(() => this.unhush()),
      mode: mine((mode) => this.turnTo(mode)),
      safety: mine((card, words) => card && this.show(card, words)),
      degraded: mine((words) => this.degrade(words)),
      ending: mine((reason, words) => this.change({ parting: { reason, words } })),
      closed: mine((code, reason) => void this.closed(code, reason)),
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

  /** Of a voice call only the writing is left; nobody listens, so that the microphone is closed. A start that knew has
   * said who answers; else the words do. */
  private degrade(words: string): void {
    void this.call?.deafen();
    const who = this.scene.get().degraded ? "" : words;
    this.change({ degraded: true, voice: false, notice: `${AWAY(this.aloud)} ${who}`.trim() });
  }

  /** What was being said is not said to its end. */
  private still(): void {
    const { lines } = this.scene.get();
    if (lines.some(({ open }) => open)) this.change({ lines: lines.map((line) => ({ ...line, open: false })) });
  }

  private async closed(code: number, reason: string): Promise<void> {
    this.call = null;
    this.still();
    if (this.leaving) return;
    await this.deliver();
    if (reason === "continued elsewhere") {
      this.change({ phase: "elsewhere", notice: "" });
    } else if (code === 1000) {
      this.leaving = true;
      this.change({ phase: "ended" });
      await this.tellEnd("agent_ended").catch(() => null);
      this.ended(this.id);
    } else await this.broken(code);
  }

  private async broken(code: number): Promise<void> {
    this.change({ phase: "rejoining", notice: closing(code) });
    await this.resume(0, code);
  }

  private async resume(attempt: number, code = 0): Promise<void> {
    const wait = attempt || this.calls ? retry(code)[attempt] : 0;
    await new Promise((done) => setTimeout(done, wait));
    if (this.scene.get().phase !== "rejoining") return;
    try {
      const path = { conversation_id: this.id };
      const start = await ask("post", "/v1/conversations/{conversation_id}/resume", { path });
      const before = this.scene.get().degraded;
      this.take(start);
      await this.connect(start);
      if (!before && !this.scene.get().degraded) this.change({ notice: this.calls > 1 ? BACK : this.scene.get().notice });
    } catch (error) {
      if (this.scene.get().phase !== "rejoining") return;
      if (error instanceof Problem && afterwards(error)) await this.over();
      else if (attempt + 1 < retry(code).length && !(error instanceof Problem && error.status === 404)) {
        await this.resume(attempt + 1, codeOf(error) || code);
      } else this.change({ phase: "lost", notice: unreached(error) });
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

  /** A reply that was interrupted before its first word. */
  private unsay(key: string): void {
    this.change({ lines: this.scene.get().lines.filter((line) => line.key !== key) });
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
    this.still();
    await call?.hangUp().catch(() => null);
  }

  private depart = (): void => {
    this.settle();
    void this.reports.flush(true);
  };

  private change(part: Partial<Scene>): void {
    this.scene.set({ ...this.scene.get(), ...part });
    this.attend();
  }

  /** Follow the events where no socket tells that the conversation was ended: apart, or at the platform directly. */
  private attend(): void {
    const { phase, start } = this.scene.get();
    if (APART.includes(phase) || (start?.transport === "direct" && phase !== "ended")) {
      this.unfollow ??= follow(this.id, (type) => OVER.includes(type) && void this.over());
    } else {
      this.unfollow?.();
      this.unfollow = null;
    }
  }
}

/** The close code with which a socket was refused. */
const codeOf = (error: unknown): number => (error as { closeCode?: number } | null)?.closeCode ?? 0;

/** The conversation this page holds, if any. */
let held: Live | null = null;
export const live = { get: (id: string) => (held?.id === id ? held : null), set: (one: Live | null) => void (held = one) };
