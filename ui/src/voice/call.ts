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
  safety(card: HelpCard | null, tier: string): void;
  degraded(): void;
  ending(): void;
  closed(details: DisconnectionDetails): void;
}

export interface Call {
  readonly id: string;
  readonly voice: boolean;
  write(text: string): void;
  typing(): void;
  mute(muted: boolean): void;
  hush(quiet: boolean): void;
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
    onIncomingEvent: (event: { type: string; safety_event?: { tier: string; card: HelpCard | null } }) => {
      if (event.type === "oneiro_safety" && event.safety_event) {
        hears.safety(event.safety_event.card, event.safety_event.tier);
      } else if (event.type === "oneiro_degraded") hears.degraded();
      else if (event.type === "oneiro_ending") hears.ending();
    },
    onDisconnect: (details) => hears.closed(details),
    onError: (message) => console.warn("call:", message),
  });
  return described(session, voice);
}

function described(session: Session, voice: boolean): Call {
  return {
    id: session.getId(),
    voice,
    write: (text) => session.sendUserMessage(text),
    typing: () => session.sendUserActivity(),
    mute: (muted) => voice && session.setMicMuted(muted),
    hush: (quiet) => voice && session.setVolume({ volume: quiet ? 0 : 1 }),
    level: (whose) => (whose === "dreamer" ? session.getInputVolume() : session.getOutputVolume()),
    hangUp: () => session.endSession(),
  };
}

/** Whether the dreamer lets us hear her; asked once more each time, since it may have changed. */
export async function microphone(): Promise<"granted" | "refused" | "absent"> {
  if (!navigator.mediaDevices?.getUserMedia) return "absent";
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    for (const track of stream.getTracks()) track.stop();
    return "granted";
  } catch (error) {
    return error instanceof DOMException && error.name === "NotAllowedError" ? "refused" : "absent";
  }
}
