import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// Two parts of the SDK are not wanted: its 600 KB WebRTC stack, which a signed URL never uses, and a loader that
// would fetch a resampler from another host. The loader is imported by a relative path, so an alias cannot name it.
function ownResampler(): Plugin {
  return {
    name: "own-resampler",
    enforce: "pre",
    resolveId: (id) => (id.endsWith("/addLibsamplerateModule.js") ? here("src/voice/resampling.ts") : null),
  };
}

export default defineConfig({
  plugins: [ownResampler()],
  resolve: {
    alias: { "livekit-client": here("src/voice/no-webrtc.ts") },
    conditions: ["browser", "module", "import", "default"],
  },
  build: {
    outDir: here("../src/oneiro/web/static"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8400" } },
});
