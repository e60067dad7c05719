import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, type InterpreterCard, type Talk as Conversation } from "../api/client";
import { interpreters } from "../api/known";
import { announce } from "../parts/announce";
import { dress, palette } from "../parts/colours";
import { Icon } from "../parts/Icon";
import { type Mood, Orb } from "../parts/Orb";
import { SafetyCard } from "../parts/SafetyCard";
import { follow } from "../api/stream";
import { kindly } from "../parts/words";
import { go } from "../router";
import { useLoaded, useStore } from "../store";
import { UNHEARD } from "../talk/begin";
import { PARTING } from "../talk/endings";
import { draft, spoken } from "../talk/keeping";
import { type Line, Live, live, OVER, type Phase, type Scene } from "../talk/live";
import { microphone } from "../voice/call";

export function Talk({ id }: { id: string }) {
  const [talk, take] = useState(live.get(id));
  useEffect(() => take(live.get(id)), [id]);
  return talk?.id === id ? <Room talk={talk} /> : <Threshold id={id} enter={take} />;
}

/** Where a reload lands: the conversation is still open, or has ended meanwhile. */
function Threshold({ id, enter }: { id: string; enter: (talk: Live) => void }) {
  const { value, failed } = useLoaded<Conversation>(
    () => ask("get", "/v1/conversations/{conversation_id}", { path: { conversation_id: id } }),
    id,
  );
  const [trouble, meet] = useState("");
  const cards = useLoaded(interpreters, "cards");
  const card = cards.value?.find((one) => one.id === value?.interpreter_id);
  const over = value && value.status !== "active";
  const aloud = spoken.get(id);

  useEffect(() => {
    if (card) dress(palette(card));
  }, [card]);
  useEffect(() => {
    if (over) go(`/conversations/${id}`, true);
    // A microphone needs a hand; writing can go on by itself.
    else if (value && !aloud) void back(false);
    else if (value) return follow(id, (type) => OVER.includes(type) && go(`/after/${id}`, true));
    return undefined;
  }, [value]);

  async function back(voice: boolean) {
    if (!value) return;
    const heard = voice ? await microphone() : "granted";
    const talk = new Live(id, value.interpreter_id, (ended) => go(`/after/${ended}`, true));
    live.set(talk);
    enter(talk);
    await talk.rejoin(voice && heard === "granted", UNHEARD[heard]).catch((error: unknown) => meet(kindly(error)));
  }

  return (
    <main id="main" class="threshold">
      <div class="threshold-orb">
        <Orb colours={palette(card)} mood={failed ? "paused" : "resting"} />
      </div>
      <h1>{failed ? "This conversation is not here" : "You were in the middle of a conversation"}</h1>
      {(failed || trouble) && <p>{trouble || kindly(failed)}</p>}
      {value && !over && (
        <>
          <p>Nothing that was said is lost. Shall we go on?</p>
          <div class="ways stacked">
            <button type="button" class="main" onClick={() => void back(true)}>
              <Icon name="mic" />
              Go on speaking
            </button>
            <button type="button" class="soft" onClick={() => void back(false)}>
              Go on in writing
            </button>
            <a class="quiet" href={`/after/${id}`}>
              End it here
            </a>
          </div>
        </>
      )}
      {failed && (
        <a class="soft" href="/">
          To the beginning
        </a>
      )}
    </main>
  );
}

const WORDS: Record<Phase, (name: string, scene: Scene) => string> = {
  connecting: () => "Connecting …",
  listening: (name, { voice, muted }) => (!voice ? `${name} is reading` : muted ? "Your microphone is closed" : `${name} is listening`),
  thinking: (name) => `${name} is thinking`,
  speaking: (name, { voice, hushed }) =>
    hushed ? `${name} goes on without sound` : voice ? `${name} is speaking` : `${name} is writing`,
  paused: () => "Resting. Come back when you like.",
  rejoining: () => "Finding you again …",
  lost: () => "The line is lost",
  elsewhere: () => "This goes on in another window",
  ended: () => "Closing gently …",
};

const MOODS: Record<Phase, Mood> = {
  connecting: "connecting",
  listening: "listening",
  thinking: "thinking",
  speaking: "speaking",
  paused: "paused",
  rejoining: "connecting",
  lost: "paused",
  elsewhere: "paused",
  ended: "resting",
};

function Room({ talk }: { talk: Live }) {
  const scene = useStore(talk.scene);
  const cards = useLoaded(interpreters, "cards");
  const card = cards.value?.find(({ id }) => id === talk.interpreterId);
  const name = scene.start?.interpreter_name ?? card?.name ?? "";
  const room = useRef<HTMLDivElement>(null);
  const state = WORDS[scene.phase](name, scene);
  const open = scene.phase === "listening" || scene.phase === "thinking" || scene.phase === "speaking";

  useEffect(() => {
    document.title = `${name} · Oneiro`;
    if (card) dress(palette(card));
  }, [card, name]);
  // Whose turn it is can be heard, or comes with the words; told at each turn it would only stand in their way.
  const told = !open || scene.hushed;
  useEffect(() => void (told && announce(state)), [state]);
  useEffect(() => announce(scene.notice), [scene.notice]);
  useEffect(() => {
    const hush = (event: KeyboardEvent) => event.key === "Escape" && scene.phase === "speaking" && talk.hush();
    addEventListener("keydown", hush);
    return () => removeEventListener("keydown", hush);
  }, [scene.phase]);

  useEffect(() => {
    const { voice } = talk.scene.get();
    // Where no keyboard would slide over the words, she can write at once.
    const place = !voice && matchMedia("(hover: hover) and (pointer: fine)").matches ? "textarea" : "main";
    room.current?.querySelector<HTMLElement>(place)?.focus({ preventScroll: true });
  }, []);

  // Whoever goes elsewhere on the page is not listened to any more.
  useEffect(() => () => void talk.pause(), [talk]);

  function mute() {
    talk.mute();
    announce(`Your microphone is ${talk.scene.get().muted ? "closed" : "open"}`);
  }

  async function end() {
    await talk.end().catch(() => null);
    go(`/after/${talk.id}`, true);
  }

  return (
    <div ref={room} class={`talk ${scene.voice ? "aloud" : "written"} ${scene.lines.length ? "begun" : ""}`} data-phase={scene.phase}>
      <header class="talk-above">
        <a class="quiet" href="/" aria-label="Back, and let this conversation rest">
          <Icon name="back" />
        </a>
        <h1>{name}</h1>
        {scene.start?.demo && <span class="badge">Demo</span>}
        <a class="quiet helps" href="/help" target="_blank" rel="noreferrer">
          Help lines<span class="unseen"> (in a new tab)</span>
        </a>
      </header>

      <Presence talk={talk} scene={scene} card={card} state={state} />

      <main id="main" class="talk-words" tabIndex={0} aria-label="The conversation">
        {scene.notice && <p class="whisper">{scene.notice}</p>}
        <Transcript
          scene={scene}
          name={name}
          dismiss={() => {
            talk.dismissCard();
            room.current?.querySelector("main")?.focus({ preventScroll: true });
          }}
        />
      </main>

      <footer class="talk-below">
        {scene.parting && open && <Parting scene={scene} name={name} />}
        {open || scene.phase === "connecting" || scene.phase === "rejoining" ? (
          <>
            <Composer talk={talk} name={name} ready={open} />
            <div class="controls">
              {scene.voice && (
                <button type="button" class="soft" disabled={!open} data-on={scene.muted} onClick={mute}>
                  <Icon name={scene.muted ? "micOff" : "mic"} />
                  {scene.muted ? "Unmute" : "Mute"}
                </button>
              )}
              <button type="button" class="soft" disabled={!open} onClick={() => void talk.pause()}>
                <Icon name="pause" />
                Pause
              </button>
              <button type="button" class="soft" onClick={() => void end()}>
                <Icon name="end" />
                End
              </button>
            </div>
          </>
        ) : (
          <Resting talk={talk} scene={scene} end={() => void end()} />
        )}
      </footer>
    </div>
  );
}

function Presence({ talk, scene, card, state }: { talk: Live; scene: Scene; card: InterpreterCard | undefined; state: string }) {
  const audible = scene.voice && scene.phase === "speaking" && !scene.hushed;
  // However far the card has scrolled away, the first number stays in reach.
  const first = scene.card?.lines.find(({ tel }) => tel);
  const orb = <Orb colours={palette(card)} mood={MOODS[scene.phase]} level={talk.level} />;
  return (
    <section class="presence" aria-label={card?.appearance?.portrait_alt ?? "Your conversation partner"}>
      {audible ? (
        <button type="button" class="orb-button" aria-label="Be quiet for now" onClick={() => talk.hush()}>
          {orb}
        </button>
      ) : (
        <div class="orb-button">{orb}</div>
      )}
      <p class="state">
        {state}
        <small>{audible ? "Tap the light to hush" : " "}</small>
      </p>
      {first?.tel && (
        <a class="call" href={`tel:${first.tel}`}>
          <Icon name="phone" />
          {first.name}: {first.phone}
        </a>
      )}
    </section>
  );
}

function Transcript({ scene, name, dismiss }: { scene: Scene; name: string; dismiss: () => void }) {
  const list = useRef<HTMLOListElement>(null);
  const spoken = useRef("");
  const last = scene.lines[scene.lines.length - 1];
  const [below, onward] = useFollowing(list, scene.lines.filter(({ sender }) => sender === "user").length);
  useEffect(() => {
    if (!last || last.open || last.earlier || last.sender !== "interpreter" || spoken.current === last.key) return;
    spoken.current = last.key;
    // What is heard is not read out beside it.
    if (!scene.voice || scene.hushed) announce(`${name}: ${last.text}`);
  }, [last, name]);

  const before = scene.card ? scene.cardAt : 0;
  const row = (line: Line) => (
    <li key={line.key} class={`line ${line.sender} ${line.open ? "open" : ""}`}>
      <span class="who">{line.sender === "user" ? "You" : name}</span>
      <p>{line.text}</p>
    </li>
  );

  return (
    <>
      <ol ref={list} class="transcript" aria-label="What was said">
        {scene.start && (
          <li class="disclosure">
            <p>{scene.start.disclosure.text}</p>
          </li>
        )}
        {scene.lines.slice(0, before).map(row)}
        {scene.card && (
          <li key="card">
            <SafetyCard card={scene.card} close={dismiss} />
          </li>
        )}
        {scene.lines.slice(before).map(row)}
        {scene.phase === "thinking" && (
          <li class="line interpreter pondering" aria-hidden="true">
            <i />
            <i />
            <i />
          </li>
        )}
      </ol>
      {below && (
        <button type="button" class="soft onward" aria-label="To the newest words" onClick={onward}>
          <Icon name="send" />
        </button>
      )}
    </>
  );
}

/** Keeps the newest words in sight, unless the reader has gone up to read; her own new line brings her back. */
function useFollowing(list: RefObject<HTMLOListElement | null>, own: number): [boolean, () => void] {
  const [below, know] = useState(false);
  const following = useRef(true);
  const scroller = () => list.current?.closest(".talk-words");
  const down = () => {
    following.current = true;
    scroller()?.scrollTo({ top: scroller()?.scrollHeight ?? 0 });
  };
  useEffect(() => {
    const element = scroller();
    if (!element || !list.current) return;
    const end = () => element.scrollHeight - element.clientHeight;
    // A reply that is longer than the window is read from its beginning.
    const goal = () => Math.min(end(), ((list.current?.lastElementChild as HTMLElement | null)?.offsetTop ?? 0) - FADE);
    let before = 0;
    const grown = new ResizeObserver(() => {
      if (following.current && goal() > element.scrollTop) element.scrollTo({ top: goal() });
      before = element.scrollTop;
      know(end() - before > NEAR);
    });
    // Only she goes up; what the page does itself was noted as it grew.
    const moved = () => {
      const up = element.scrollTop < before;
      before = element.scrollTop;
      const there = before > goal() - NEAR;
      if (up || there) following.current = there;
      know(end() - before > NEAR);
    };
    grown.observe(list.current);
    grown.observe(element);
    element.addEventListener("scroll", moved, { passive: true });
    return () => {
      grown.disconnect();
      element.removeEventListener("scroll", moved);
    };
  }, []);
  useEffect(down, [own]);
  return [below, down];
}

const NEAR = 80;
const FADE = 24;

function Composer({ talk, name, ready }: { talk: Live; name: string; ready: boolean }) {
  const kept = draft.line(talk.id);
  const [text, write] = useState(kept.get());
  const field = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    const area = field.current;
    if (!area) return;
    area.style.height = "auto";
    const borders = area.offsetHeight - area.clientHeight;
    area.style.height = `${Math.min(area.scrollHeight + borders, 180)}px`;
  }, [text]);

  function send(event: Event) {
    event.preventDefault();
    if (!text.trim() || !ready) return;
    talk.write(text.trim());
    write("");
    kept.set("");
    field.current?.focus();
  }

  return (
    <form class="composer" onSubmit={send}>
      <label>
        <span class="unseen">Write to {name}</span>
        <textarea
          ref={field}
          rows={1}
          maxLength={2000}
          placeholder={`Write to ${name}`}
          value={text}
          onInput={(event) => {
            write(event.currentTarget.value);
            kept.set(event.currentTarget.value);
            talk.typing();
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
          }}
        />
      </label>
      <button type="submit" class="send" aria-label="Send" disabled={!ready || !text.trim()}>
        <Icon name="send" />
      </button>
    </form>
  );
}

function Resting({ talk, scene, end }: { talk: Live; scene: Scene; end: () => void }) {
  if (scene.phase === "ended") return null;
  return (
    <div class="resting">
      {RESTS[scene.phase] && <p>{RESTS[scene.phase]}</p>}
      <div class="ways">
        <button type="button" class="main" onClick={() => void talk.comeBack()}>
          {GO_ON[scene.phase] ?? "Go on"}
        </button>
        <button type="button" class="soft" onClick={end}>
          End here
        </button>
      </div>
    </div>
  );
}

const RESTS: Partial<Record<Phase, string>> = {
  lost: "What was said is kept. You can try again, or end here and read it later.",
  elsewhere: "Only one window can hold it at a time. You can bring it back to this one.",
};

const GO_ON: Partial<Record<Phase, string>> = { lost: "Try again", elsewhere: "Go on here" };

/** It is about to close by itself: told early, softly, and with the words to part with. */
function Parting({ scene: { parting, lines }, name }: { scene: Scene; name: string }) {
  const { reason, words } = parting ?? { reason: "", words: "" };
  // A brain that was told says them itself.
  const said = lines.some(({ sender, text }) => sender === "interpreter" && text.includes(words));
  useEffect(() => announce(`${PARTING(reason)} ${words}`), [reason, words]);
  return (
    <aside class="parting" aria-label="About to close">
      <p>{PARTING(reason)}</p>
      {words && !said && (
        <blockquote>
          <p>{words}</p>
          <footer>{name}</footer>
        </blockquote>
      )}
    </aside>
  );
}
