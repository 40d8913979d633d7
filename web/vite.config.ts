/**
 * Builds the page into dist/web: a script for what it shows first, one for each part that it loads later, and one style
 * sheet. Nothing is inline, and file names change with the content.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import prefresh from '@prefresh/vite';
import { defineConfig, type Plugin, type UserConfig } from 'vite';

const at = (file: string) => path.join(import.meta.dirname, file);

/** Loads early.ts before the page is first drawn. Vite's own scripts are modules, which run later. */
function earlyScript(): Plugin {
  return {
    name: 'early-script',
    transformIndexHtml: {
      order: 'post',
      handler: (_, { bundle }) => {
        const built = Object.values(bundle ?? {}).find((file) => file.type === 'chunk' && file.name === 'early');
        const attrs = built === undefined ? { type: 'module', src: './early.ts' } : { src: `./${built.fileName}` };
        return [{ tag: 'script', attrs, injectTo: 'head-prepend' }];
      },
    },
  };
}

/** Compresses what the page loads first with Brotli, for src/gateway/web-files.ts. That is too slow during a request. */
function brotliFiles(): Plugin {
  return {
    name: 'brotli-files',
    writeBundle({ dir = '' }, bundle) {
      for (const [name, file] of Object.entries(bundle)) {
        const isFirst = file.type === 'chunk' ? file.isEntry : name.endsWith('.css');
        if (!isFirst) continue;
        const written = path.join(dir, name);
        writeFileSync(`${written}.br`, brotliCompressSync(readFileSync(written)));
      }
    },
  };
}

export default defineConfig(
  async ({ command }): Promise<UserConfig> => ({
    root: import.meta.dirname,
    // Relative, so that a proxy may serve the page below a path.
    base: './',
    // The default build of csv-parse needs Node's streams and Buffer.
    resolve: { alias: { 'csv-parse': 'csv-parse/browser/esm' } },
    build: {
      outDir: '../dist/web',
      emptyOutDir: true,
      // The first versions with light-dark(), from the middle of 2024.
      target: ['chrome123', 'edge123', 'firefox120', 'safari17.5'],
      assetsInlineLimit: 0,
      cssCodeSplit: false,
      // The files of a part are loaded at the same time. All browsers above know the links for that.
      modulePreload: { polyfill: false },
      sourcemap: false,
      rolldownOptions: {
        input: [at('index.html'), at('early.ts')],
        // One script for what the page shows first: each further one costs a connection, and so a round trip.
        output: { codeSplitting: { groups: [{ name: 'page', tags: ['$initial'], test: /^(?!.*early\.ts)/ }] } },
        // Without the hint about slow plugins, which appears on busy machines only.
        checks: { pluginTimings: false },
      },
    },
    // Tests build the page with NODE_ENV=test, which would add file names and line numbers.
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact', development: false } },
    // For `npm run dev`: replaces changed components in the browser and keeps their state.
    plugins: [earlyScript(), brotliFiles(), ...(command === 'serve' ? [await prefresh()] : [])],
  }),
);
