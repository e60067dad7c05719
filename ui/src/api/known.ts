// What several views need and what seldom changes: asked for once.
import { region } from "../talk/keeping";
import { ask, type Dreamer, type InterpreterCard } from "./client";

let cards: Promise<InterpreterCard[]> | null = null;

export function interpreters(): Promise<InterpreterCard[]> {
  return (cards ??= ask("get", "/v1/interpreters")
    .then(({ items }) => items)
    .catch((error: unknown) => {
      cards = null;
      throw error;
    }));
}

export async function me(): Promise<Dreamer> {
  const dreamer = await ask("get", "/v1/me");
  if (dreamer.region) region.set(dreamer.region);
  return dreamer;
}
