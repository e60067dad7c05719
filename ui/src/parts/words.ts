const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** A day without its time, of a year that may be another. */
export const day = (date: string): string => DATE.format(new Date(date));

export const when = (at: string): string => `${DAY.format(new Date(at))}, ${TIME.format(new Date(at))}`;

/** The first words of a text, as a title where there is none. */
export function beginning(text: string, most = 64): string {
  const line = text.trim().split("\n")[0] ?? "";
  return line.length <= most ? line : `${line.slice(0, most).replace(/[\s.,;:!?]+\S*$/, "")} …`;
}

export const kindly = (error: unknown): string =>
  error instanceof Error && error.message ? error.message : "Something went wrong. Please try again.";
