// The presence one speaks with: a soft light that breathes by itself and swells with the voice.
import { useEffect, useRef } from "preact/hooks";
import { blend, type Palette, rgb, rgba } from "./colours";

export type Mood = "resting" | "connecting" | "listening" | "thinking" | "speaking" | "paused";

interface Props {
  colours: Palette;
  mood: Mood;
  /** Loudness of the voice that is heard now, 0 … 1. */
  level?: () => number;
  /** A small one beside a name is drawn once. */
  still?: boolean;
}

const PACE: Record<Mood, number> = { resting: 0.35, connecting: 0.9, listening: 0.5, thinking: 1.7, speaking: 0.8, paused: 0.12 };
const LIGHT: Record<Mood, number> = { resting: 0.82, connecting: 0.6, listening: 0.88, thinking: 0.8, speaking: 1, paused: 0.42 };
const WHITE: [number, number, number] = [255, 250, 244];
const quiet = matchMedia("(prefers-reduced-motion: reduce)");

export function Orb({ colours, mood, level, still = false }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const wish = useRef({ colours, mood, level });
  wish.current = { colours, mood, level };

  useEffect(() => {
    const element = canvas.current;
    const pen = element?.getContext("2d");
    if (!element || !pen) return;
    const state = { time: 40, loud: 0, light: LIGHT[wish.current.mood], pace: PACE[wish.current.mood] };
    let frame = 0;
    let before = 0;

    const fit = () => {
      const scale = Math.min(devicePixelRatio || 1, 2);
      const side = Math.round(element.clientWidth * scale);
      if (side && element.width !== side) element.width = element.height = side;
    };
    const draw = (now: number) => {
      const { colours: worn, mood: felt, level: heard } = wish.current;
      const passed = Math.min(0.1, (now - before) / 1000);
      const calm = quiet.matches || still;
      before = now;
      const loud = Math.min(1, (heard?.() ?? 0) * 2.4);
      state.loud += (loud - state.loud) * (loud > state.loud ? 0.35 : 0.08);
      state.light += (LIGHT[felt] - state.light) * (calm ? 1 : 0.05);
      state.pace += (PACE[felt] - state.pace) * 0.04;
      if (!calm) state.time += passed * (state.pace + state.loud);
      fit();
      paint(pen, element.width, worn, { ...state, loud: calm ? 0 : state.loud, spark: felt === "thinking" && !calm });
      if (!calm && !document.hidden) frame = requestAnimationFrame(draw);
    };
    const start = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(draw);
    };
    start();
    const watch = new ResizeObserver(start);
    watch.observe(element);
    const worn = new MutationObserver(start);
    worn.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    document.addEventListener("visibilitychange", start);
    quiet.addEventListener("change", start);
    return () => {
      cancelAnimationFrame(frame);
      watch.disconnect();
      worn.disconnect();
      document.removeEventListener("visibilitychange", start);
      quiet.removeEventListener("change", start);
    };
  }, [still, still || quiet.matches ? `${colours.accent}${mood}` : ""]);

  return <canvas ref={canvas} class="orb" aria-hidden="true" />;
}

interface Frame {
  time: number;
  loud: number;
  light: number;
  spark: boolean;
}

function paint(pen: CanvasRenderingContext2D, side: number, colours: Palette, now: Frame): void {
  const middle = side / 2;
  const breath = Math.sin(now.time * 1.1) * 0.022 + now.loud * 0.11;
  const radius = side * 0.285 * (1 + breath);
  const accent = rgb(colours.accent);
  const glow = rgb(colours.glow);
  pen.clearRect(0, 0, side, side);
  pen.globalCompositeOperation = "source-over";

  // By day a dark glow would be a stain.
  const around = document.documentElement.dataset["theme"] === "day" ? blend(accent, WHITE, 0.25) : glow;
  const halo = pen.createRadialGradient(middle, middle, radius * 0.6, middle, middle, middle);
  halo.addColorStop(0, rgba(accent, 0.42 * now.light + now.loud * 0.25));
  halo.addColorStop(0.32, rgba(around, 0.3 * now.light + now.loud * 0.12));
  halo.addColorStop(0.68, rgba(around, 0.08 * now.light));
  halo.addColorStop(1, rgba(around, 0));
  pen.fillStyle = halo;
  pen.fillRect(0, 0, side, side);

  pen.save();
  outline(pen, middle, radius, now);
  pen.clip();
  const body = pen.createLinearGradient(middle - radius, middle - radius, middle + radius * 0.7, middle + radius);
  body.addColorStop(0, rgba(blend(accent, WHITE, 0.12), now.light));
  body.addColorStop(0.5, rgba(accent, now.light));
  body.addColorStop(1, rgba(blend(glow, [10, 6, 26], 0.5), 1));
  pen.fillStyle = body;
  pen.fillRect(0, 0, side, side);
  clouds(pen, middle, radius, accent, glow, now);
  pen.restore();

  const rim = pen.createLinearGradient(middle, middle - radius, middle, middle + radius);
  rim.addColorStop(0, rgba(WHITE, 0.5 * now.light));
  rim.addColorStop(0.4, rgba(accent, 0.12));
  rim.addColorStop(1, rgba(accent, 0.34 * now.light));
  outline(pen, middle, radius, now);
  pen.strokeStyle = rim;
  pen.lineWidth = Math.max(1, side / 260);
  pen.stroke();
  if (now.spark) spark(pen, middle, radius, now);
}

function outline(pen: CanvasRenderingContext2D, middle: number, radius: number, { time, loud }: Frame): void {
  const sway = 0.005 + loud * 0.011;
  pen.beginPath();
  for (let step = 0; step <= 72; step += 1) {
    const angle = (step / 72) * Math.PI * 2;
    const wave = Math.sin(angle * 3 + time * 1.3) + Math.sin(angle * 5 - time * 1.9) * 0.6 + Math.sin(angle * 2 + time * 0.7);
    const reach = radius * (1 + wave * sway);
    pen.lineTo(middle + Math.cos(angle) * reach, middle + Math.sin(angle) * reach);
  }
  pen.closePath();
}

function clouds(
  pen: CanvasRenderingContext2D,
  middle: number,
  radius: number,
  accent: [number, number, number],
  glow: [number, number, number],
  { time, light, loud }: Frame,
): void {
  const parts: [number, number, number, string, GlobalCompositeOperation][] = [
    [0.9, 0.72, 1.2, rgba(blend(glow, [8, 6, 24], 0.45), 0.85), "source-over"],
    [2.6, 0.5, 0.95, rgba(blend(accent, glow, 0.25), 0.6 * light), "screen"],
    [4.3, 0.58, 0.8, rgba(glow, 0.9 * light), "screen"],
    [5.5, 0.42, 0.62, rgba(blend(accent, WHITE, 0.35), (0.4 + loud * 0.5) * light), "screen"],
  ];
  for (const [phase, away, size, colour, how] of parts) {
    const angle = phase + time * (0.32 + size * 0.12);
    const x = middle + Math.cos(angle) * radius * away;
    const y = middle + Math.sin(angle * 0.9) * radius * away;
    const cloud = pen.createRadialGradient(x, y, 0, x, y, radius * size);
    cloud.addColorStop(0, colour);
    cloud.addColorStop(1, colour.replace(/[\d.]+\)$/, "0)"));
    pen.globalCompositeOperation = how;
    pen.fillStyle = cloud;
    pen.fillRect(middle - radius * 2, middle - radius * 2, radius * 4, radius * 4);
  }
  pen.globalCompositeOperation = "screen";
  const x = middle - radius * 0.36;
  const y = middle - radius * 0.44;
  const shine = pen.createRadialGradient(x, y, 0, x, y, radius * 0.62);
  const bright = blend(accent, WHITE, 0.78);
  shine.addColorStop(0, rgba(bright, 0.85 * light));
  shine.addColorStop(0.35, rgba(bright, 0.26 * light));
  shine.addColorStop(1, rgba(bright, 0));
  pen.fillStyle = shine;
  pen.fillRect(middle - radius, middle - radius, radius * 2, radius * 2);
  pen.globalCompositeOperation = "source-over";
}

function spark(pen: CanvasRenderingContext2D, middle: number, radius: number, { time }: Frame): void {
  for (let step = 0; step < 26; step += 1) {
    const angle = time * 1.5 - step * 0.045;
    const reach = radius * 1.2;
    pen.beginPath();
    pen.arc(middle + Math.cos(angle) * reach, middle + Math.sin(angle) * reach, radius * 0.026 * (1 - step / 26), 0, 7);
    pen.fillStyle = rgba(WHITE, 0.75 * (1 - step / 26));
    pen.fill();
  }
}
