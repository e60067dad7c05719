import { useEffect, useState } from "preact/hooks";

/** A value that tells when it changes. */
export interface Store<T> {
  get(): T;
  set(value: T): void;
  listen(heard: () => void): () => void;
}

export function createStore<T>(first: T): Store<T> {
  let value = first;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const heard of [...listeners]) heard();
    },
    listen(heard) {
      listeners.add(heard);
      return () => listeners.delete(heard);
    },
  };
}

export function useStore<T>(store: Store<T>): T {
  const [, redraw] = useState(0);
  useEffect(() => {
    redraw((n) => n + 1);
    return store.listen(() => redraw((n) => n + 1));
  }, [store]);
  return store.get();
}

/** Something asked for once a key is new: `undefined` while it is on its way. */
export function useLoaded<T>(load: () => Promise<T>, key: string): { value?: T; failed?: Error; again: () => void } {
  const [state, settle] = useState<{ key: string; value?: T; failed?: Error }>({ key: "" });
  const [turn, again] = useState(0);
  useEffect(() => {
    let current = true;
    load().then(
      (value) => current && settle({ key, value }),
      (failed: Error) => current && settle({ key, failed }),
    );
    return () => {
      current = false;
    };
  }, [key, turn]);
  const shown = state.key === key ? state : { key };
  return { ...shown, again: () => again((n) => n + 1) };
}
