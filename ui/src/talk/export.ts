import { file } from "../api/client";

/** Everything that is kept about the dreamer, as one file. */
export async function exportAll(): Promise<void> {
  const address = URL.createObjectURL(await file("/v1/me/export"));
  const link = document.createElement("a");
  link.href = address;
  link.download = `oneiro-${new Date().toISOString().slice(0, 10)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
