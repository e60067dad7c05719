import type { ComponentChildren } from "preact";
import { CALM } from "./colours";
import { arriving } from "./focus";
import { Orb } from "./Orb";

interface Props {
  title: string;
  words: string;
  children?: ComponentChildren;
  /** It takes the place of what had the focus. */
  instead?: boolean;
}

/** A page on which there is nothing but a light, and a way on. */
export function Still({ title, words, children, instead = false }: Props) {
  return (
    <div class="nothing">
      <div class="threshold-orb">
        <Orb colours={CALM} mood="paused" />
      </div>
      <h1 tabIndex={-1} ref={instead ? arriving : null}>
        {title}
      </h1>
      <p class="lead">{words}</p>
      {children}
    </div>
  );
}
