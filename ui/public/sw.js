// Only one thing: a page for when nothing can be reached. Everything else goes to the network as ever.
const OFFLINE = "/offline.html";
// Another name with each change of that page, or the one kept before would be shown.
const KEPT = "oneiro-3";

async function forget() {
  for (const name of await caches.keys()) if (name.startsWith("oneiro") && name !== KEPT) await caches.delete(name);
}

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll([OFFLINE, "/offline.css"])));
  self.skipWaiting();
});

self.addEventListener("activate", (event) => {
  event.waitUntil(Promise.all([forget(), self.clients.claim()]));
});

self.addEventListener("fetch", (event) => {
  const { mode, url } = event.request;
  if (mode === "navigate") event.respondWith(fetch(event.request).catch(() => caches.match(OFFLINE)));
  else if (url.endsWith("/offline.css")) event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request)));
});
