/** Compiles the server and generates code from the contract for npm run dev. Errors are printed as the tools print them. */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');

/** Not dist/, whose contents scripts/setup.mjs compares with the sources. */
export const output = path.join(root, '.roster', 'dev');

let running;

/** Ends the tool that is running. */
export function stopBuilding() {
  running?.kill();
}

/** Returns whether it succeeded. */
export async function generate() {
  const { code, text } = await run(['scripts/generate.mjs']);
  if (code !== 0) process.stdout.write(text);
  return code === 0;
}

/**
 * Returns whether the sources compile, and whether the compiled code has changed. Compiles everything that
 * tsconfig.build.json names, because npm run build would fail in any of it.
 */
export async function compile() {
  removeOrphans();
  const { code, text } = await run([
    'node_modules/typescript/bin/tsc',
    ...['-p', 'tsconfig.build.json', '--outDir', output, '--tsBuildInfoFile', path.join(output, '.tsbuildinfo')],
    ...['--declaration', 'false', '--noEmitOnError', '--listEmittedFiles'],
    ...['--pretty', String(process.stdout.isTTY === true)],
  ]);
  const emitted = /^TSFILE: .*\n/gm;
  if (code !== 0) process.stdout.write(text.replaceAll(emitted, ''));
  return { isCompiled: code === 0, isChanged: /^TSFILE: .*\.js$/m.test(text) };
}

/** Removes the compiled code of sources that were deleted, such as a migration that would run otherwise. */
function removeOrphans() {
  if (!fs.existsSync(output)) return;
  for (const file of fs.readdirSync(output, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.js') || fs.existsSync(path.join(root, file.replace(/\.js$/, '.ts')))) continue;
    fs.rmSync(path.join(output, file));
  }
}

async function run(args) {
  running = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [running.stdout, running.stderr]) {
    stream.setEncoding('utf8').on('data', (part) => {
      text += part;
    });
  }
  const code = await new Promise((resolve) => running.on('close', resolve));
  running = undefined;
  return { code, text };
}
