// One call through the SDK, told in our words. The SDK is loaded when it is needed, not before the first paint.
import type { HelpCard, Started } from "../api/client";
import type { Conversation as Sdk, DisconnectionDetails, Mode } from "@elevenlabs/client";
import rawAudioProcessor from "@elevenlabs/client/worklets/rawAudioProcessor.js?url&no-inline";
import audioConcatProcessor from "@elevenlabs/client/worklets/audioConcatProcessor.js?url&no-inline";

export interface Hears {
  /** The dreamer's spoken words, as they were understood. */
  heard(text: string): void;
  /** A whole reply; `turn` orders replies within the call. */
  said(text: string, turn: number): void;
  /** A piece of a reply that is being written. */
  piece(text: string, kind: "start" | "delta" | "stop", turn: number): void;
  /** What was really said of a reply that was interrupted. */
  corrected(text: string, turn: number): void;
  interrupted(): void;
  mode(mode: Mode): void;
  /** Words of danger: the card, and what is said in place of a reply. */
  safety(card: HelpCard | null, words: string | null): void;
  /** The platform is away; what follows is written. */
  degraded(words: string): void;
  /** It is about to end, for this reason and with these words. */
  ending(reason: string, words: string): void;
  /** Over; 1000 where nothing broke. */
  closed(code: number, reason: string): void;
}

export interface Call {
  readonly id: string;
  readonly voice: boolean;
  write(text: string): void;
  typing(): void;
  mute(muted: boolean): void;
  hush(quiet: boolean): void;
  /** Let go of the microphone, for the rest of this call: the browser shows that nothing is heard any more. */
  deafen(): Promise<void>;
  level(whose: "dreamer" | "interpreter"): number;
  hangUp(): Promise<void>;
}

type Session = Awaited<ReturnType<typeof Sdk.startSession>>;

export const sdk = () => import("@elevenlabs/client");

export async function openCall(start: Started, voice: boolean, hears: Hears): Promise<Call> {
  const { Conversation } = await sdk();
  const session = await Conversation.startSession({
    signedUrl: start.signed_url,
    connectionType: "websocket",
    textOnly: !voice,
    // Under the relay the variables never leave the server.
    ...(start.transport === "direct" ? { dynamicVariables: start.dynamic_variables } : {}),
    workletPaths: { rawAudioProcessor, audioConcatProcessor },
    onMessage: ({ role, message, event_id }) =>
      role === "user" ? hears.heard(message) : hears.said(message, event_id ?? 0),
    onAgentChatResponsePart: (part) => hears.piece(part.text, part.type, part.event_id),
    onAgentResponseCorrection: (fix) => hears.corrected(fix.corrected_agent_response, fix.event_id),
    onInterruption: () => hears.interrupted(),
    onModeChange: ({ mode }) => hears.mode(mode),
    onIncomingEvent: (event: Ours) => {
      if (event.type === "oneiro_safety") hears.safety(event.safety_event?.card ?? null, event.safety_event?.words ?? null);
      else if (event.type === "oneiro_degraded") hears.degraded(event.degraded_event?.words ?? "");
      else if (event.type === "oneiro_ending") hears.ending(event.ending_event?.reason ?? "", event.ending_event?.words ?? "");
    },
    onDisconnect: (details) => hears.closed(...asClosed(details)),
    onError: (message) => console.warn("call:", message),
  });
  return described(session, voice);
}

/** Frames that the relay adds to the platform's. */
interface Ours {
  type: string;
  safety_event?: { card: HelpCard | null; words?: string | null };
  degraded_event?: { words?: string | null };
  ending_event?: { reason: string; words: string };
}

function asClosed(details: DisconnectionDetails): [number, string] {
  if (details.reason === "user") return [1000, ""];
  return [details.closeCode ?? (details.reason === "agent" ? 1000 : 1006), details.closeReason ?? ""];
}

function described(session: Session, voice: boolean): Call {
  return {
    id: session.getId(),
    voice,
    write: (text) => session.sendUserMessage(text),
    typing: () => session.sendUserActivity(),
    mute: (muted) => voice && session.setMicMuted(muted),
    hush: (quiet) => voice && session.setVolume({ volume: quiet ? 0 : 1 }),
    deafen: () => letGo(session),
    level: (whose) => (whose === "dreamer" ? session.getInputVolume() : session.getOutputVolume()),
    hangUp: () => session.endSession(),
  };
}

/** The SDK would keep the microphone until the end, and close it once more then, which a closed input refuses. */
async function letGo(session: Session): Promise<void> {
  if (session.type !== "voice") return;
  const input = session["input"];
  const { close } = input;
  input.close = () => Promise.resolve();
  await close.call(input);
}

const SOUND_MS = 5000;

/** Whether sound begins at all: where there is no device for it, some browsers wait for one without end. */
async function sounds(): Promise<boolean> {
  const context = new AudioContext();
  await Promise.race([context.resume(), new Promise((done) => setTimeout(done, SOUND_MS))]);
  const begun = context.state === "running";
  void context.close();
  return begun;
}

/** Whether the dreamer lets us hear her, and can hear; asked once more each time, since it may have changed. */
export async function microphone(): Promise<"granted" | "refused" | "absent" | "silent"> {
  if (!navigator.mediaDevices?.getUserMedia) return "absent";
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const begun = await sounds();
    for (const track of stream.getTracks()) track.stop();
    return begun ? "granted" : "silent";
  } catch (error) {
    return error instanceof DOMException && error.name === "NotAllowedError" ? "refused" : "absent";
  }
}
