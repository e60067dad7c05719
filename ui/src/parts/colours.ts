import type { InterpreterCard } from "../api/client";
import { worn } from "../talk/keeping";

export interface Palette {
  accent: string;
  glow: string;
}

export const CALM: Palette = { accent: "#a9a4c9", glow: "#4a4770" };
const HEX = /^#[0-9a-f]{6}$/i;

/** How bright an accent is at least, and a glow at most: the one is read at night, the other by day. */
const BRIGHT = 0.2;
const DEEP = 0.16;

/** An interpreter's colours, moved as far as words in them need; what is no colour gives way to a calm one. */
export function palette(card: Pick<InterpreterCard, "appearance"> | null | undefined): Palette {
  const look = (card?.appearance ?? {}) as Record<string, string | null | undefined>;
  const accent = HEX.test(look["accent"] ?? "") ? look["accent"]! : CALM.accent;
  const glow = HEX.test(look["glow"] ?? "") ? look["glow"]! : CALM.glow;
  return {
    accent: moved(accent, (part, step) => part * (1 + step) + step * 8, (light) => light >= BRIGHT),
    glow: moved(glow, (part, step) => part / (1 + step), (light) => light <= DEEP),
  };
}

/** A colour moved step by step, of the same hue, until it is light or dark enough. */
function moved(hex: string, how: (part: number, step: number) => number, enough: (light: number) => boolean): string {
  let colour = hex;
  for (let step = 0.2; step < 12 && !enough(luminance(colour)); step += 0.2) {
    colour = asHex(rgb(hex).map((part) => Math.min(255, Math.round(how(part, step)))) as Rgb);
  }
  return colour;
}

const asHex = (colour: Rgb): string => `#${colour.map((part) => part.toString(16).padStart(2, "0")).join("")}`;

type Rgb = [number, number, number];

export const rgb = (hex: string): Rgb => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as Rgb;

export const rgba = ([r, g, b]: Rgb, alpha: number): string => `rgba(${r}, ${g}, ${b}, ${Math.max(0, Math.min(1, alpha))})`;

export const blend = (from: Rgb, to: Rgb, share: number): Rgb =>
  from.map((part, at) => Math.round(part + ((to[at] ?? 0) - part) * share)) as Rgb;

/** Relative luminance (WCAG 2.2). */
export function luminance(hex: string): number {
  const [r, g, b] = rgb(hex).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Dress the whole page in an interpreter's colours. */
export function dress({ accent, glow }: Palette): void {
  const style = document.documentElement.style;
  style.setProperty("--accent", accent);
  style.setProperty("--glow", glow);
  // Whichever reads better: contrast with the dark ink is (L + .05) / .053, with white 1.05 / (L + .05).
  style.setProperty("--on-accent", luminance(accent) > 0.18 ? "#0e0c18" : "#ffffff");
  worn.set(`${accent} ${glow}`);
}

/** The colours of last time, until an interpreter is known. */
export function dressAsBefore(): void {
  const [accent, glow] = worn.get().split(" ");
  if (HEX.test(accent ?? "") && HEX.test(glow ?? "")) dress({ accent: accent!, glow: glow! });
}
