// Only one thing: a page for when nothing can be reached. Everything else goes to the network as ever.
const OFFLINE = "/offline.html";

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open("oneiro").then((cache) => cache.addAll([OFFLINE, "/offline.css"])));
  self.skipWaiting();
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { mode, url } = event.request;
  if (mode === "navigate") event.respondWith(fetch(event.request).catch(() => caches.match(OFFLINE)));
  else if (url.endsWith("/offline.css")) event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request)));
});
