import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tailwind from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react(), tailwind()],
  // Not inside node_modules, which may be read-only.
  cacheDir: join(tmpdir(), 'opsfleet-vite'),
  build: {
    outDir: 'dist',
    // The oldest browsers with light-dark(), which the themes are written in.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    // The content security policy allows files of our own, and nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
  server: { proxy: { '/api': 'http://127.0.0.1:7700' } },
});
