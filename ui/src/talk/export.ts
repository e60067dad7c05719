import { ask, everything } from "../api/client";
import { me } from "../api/known";

/** Everything that is kept about the dreamer, as one file. */
export async function exportAll(): Promise<void> {
  const dreams = await everything((cursor) => ask("get", "/v1/dreams", { query: { limit: 100, cursor: cursor ?? null } }));
  const talks = await everything((cursor) => ask("get", "/v1/conversations", { query: { limit: 100, cursor: cursor ?? null } }));
  const conversations = [];
  for (const talk of talks) {
    const path = { conversation_id: talk.conversation_id };
    const messages = await everything((cursor) =>
      ask("get", "/v1/conversations/{conversation_id}/messages", { path, query: { limit: 100, cursor: cursor ?? null } }),
    );
    conversations.push({ ...talk, messages });
  }
  const whole = { exported_at: new Date().toISOString(), profile: await me(), dreams, conversations };
  hand(JSON.stringify(whole, null, 2), `oneiro-${whole.exported_at.slice(0, 10)}.json`);
}

function hand(content: string, name: string): void {
  const address = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
