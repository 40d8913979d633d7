/**
 * Builds the page into dist/web: a script for what it shows first, one for each part that it loads later, and one style
 * sheet. Nothing is inline, and file names change with the content.
 */
import prefresh from '@prefresh/vite';
import { defineConfig, type UserConfig } from 'vite';

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
      modulePreload: false,
      sourcemap: false,
      // Without the hint about slow plugins, which appears on busy machines only.
      rolldownOptions: { checks: { pluginTimings: false } },
    },
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    // For `npm run dev`: replaces changed components in the browser and keeps their state.
    plugins: command === 'serve' ? [await prefresh()] : [],
  }),
);
