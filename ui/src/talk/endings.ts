// What is said when a line breaks, rests or ends, and how long is waited before the next attempt.
import { Problem } from "../api/client";

export const BACK = "The line is back.";

export const AWAY = (aloud: boolean): string =>
  aloud ? "The voice is away for a while, so we write. Nothing is lost." : "The usual line is away; we go on over another.";

export const RESTORED = (aloud: boolean): string => (aloud ? "The voice is back." : BACK);

const CLOSINGS: Record<number, string> = {
  1008: "That line was not let in. Asking for a new one …",
  1011: "Something stumbled on our side. Finding you again …",
  1012: "A short pause on our side. Finding you again …",
  1013: "Many people are talking just now. Your place is kept; one moment …",
};

/** Why she has to wait, by the code with which the socket was closed. */
export const closing = (code: number): string => CLOSINGS[code] ?? "The line broke. Finding you again …";

const SOON_MS = [300, 1000, 2000, 4000, 8000, 8000];
const PATIENT_MS = [1500, 3000, 6000, 12_000, 20_000, 30_000];

/** The waits before each attempt to come back; where it is crowded, longer ones. */
export const retry = (code: number): readonly number[] => (code === 1013 ? PATIENT_MS : SOON_MS);

/** Whether the answer to coming back is that it is over. */
export const afterwards = ({ code }: Problem): boolean => code === "conversation_ended";

/** Why it could not be come back to, in the API's own kind words where it had any. */
export function unreached(error: unknown): string {
  if (error instanceof Problem && (error.status === 503 || error.status === 429)) return error.message;
  return "";
}

/** How a conversation ended that nobody here ended. */
export const ENDS: Record<string, string> = {
  timeout: "It closed by itself: the time was up, or it had been quiet for long.",
  error: "It was broken off by a fault of ours. What was said until then is kept.",
  system_shutdown: "It was ended by the service. What was said until then is kept.",
  never_connected: "It never quite began.",
};

/** What stands above the words to part with. */
export const PARTING = (reason: string): string =>
  reason === "silence"
    ? "It has been quiet for a while, so this closes softly. Say or write anything, and it stays."
    : "The time is nearly up. What you told is kept.";
