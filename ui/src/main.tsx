import { render } from "preact";
import { signedOut } from "./api/token";
import { Announcer } from "./parts/announce";
import { dressAsBefore } from "./parts/colours";
import { Frame } from "./parts/Frame";
import { Still } from "./parts/Still";
import { follow, useRoute } from "./router";
import { useStore } from "./store";
import { theme } from "./talk/keeping";
import { After } from "./views/After";
import { ConversationPage } from "./views/ConversationPage";
import { DreamPage } from "./views/DreamPage";
import { Help } from "./views/Help";
import { Home } from "./views/Home";
import { Journal } from "./views/Journal";
import { Talk } from "./views/Talk";
import { You } from "./views/You";

function View() {
  const route = useRoute();
  const out = useStore(signedOut);
  if (route.view === "help") return <Help />;
  if (out) return <SignedOut />;
  switch (route.view) {
    case "home":
      return <Home wanted={route.interpreter} dreamId={route.dream} />;
    case "talk":
      return <Talk key={route.id} id={route.id} />;
    case "after":
      return <After key={route.id} id={route.id} />;
    case "conversation":
      return <ConversationPage key={route.id} id={route.id} />;
    case "dream":
      return <DreamPage key={route.id} id={route.id} />;
    case "journal":
      return <Journal />;
    case "you":
      return <You />;
    default:
      return <Lost />;
  }
}

function SignedOut() {
  return (
    <Frame title="Sign in" kind="bare">
      <Still title="Please sign in" words="Open this page from your app once more, and it will know you again." />
    </Frame>
  );
}

function Lost() {
  return (
    <Frame title="Nothing here" kind="bare">
      <Still title="There is nothing here" words="Perhaps it was a dream.">
        <a class="soft" href="/">
          To the beginning
        </a>
      </Still>
    </Frame>
  );
}

theme.set(theme.get());
dressAsBefore();
addEventListener("click", follow);
const root = document.getElementById("page");
if (root) {
  root.textContent = "";
  render(
    <>
      <View />
      <Announcer />
    </>,
    root,
  );
}
if ("serviceWorker" in navigator && import.meta.env.PROD) {
  void navigator.serviceWorker.register("/sw.js").catch(() => undefined);
}
