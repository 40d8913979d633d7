/** Appends lines to real files: order, rotation, several writers, and disks that refuse. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AppendFile } from '../../src/telemetry/append-file.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-append-'));
});
afterEach(() => rm(folder, { recursive: true }));

const waitOptions = { timeout: 30_000 };
const linesOf = async (path: string) => (await readFile(path, 'utf8').catch(() => '')).split('\n').slice(0, -1);

function openFile(path: string, waitingMax?: number) {
  const events = { failures: [] as unknown[], attempts: 0, lost: 0 };
  const file = new AppendFile(path, {
    onFailure: (error) => void events.failures.push(error),
    onAttemptFailed: () => void events.attempts++,
    onLost: (lines) => {
      events.lost += lines;
    },
    ...(waitingMax !== undefined && { waitingMax }),
  });
  return { file, events };
}

describe('AppendFile', () => {
  it('writes lines in order, after those of the file, and only for its owner and group', async () => {
    const path = join(folder, 'audit.log');
    for (const start of [0, 500]) {
      const { file, events } = openFile(path);
      for (let n = start; n < start + 500; n++) file.write(`${n}\n`);
      await file.close();
      expect(events).toEqual({ failures: [], attempts: 0, lost: 0 });
    }
    expect(await linesOf(path)).toEqual(Array.from({ length: 1000 }, (_, n) => String(n)));
    expect((await stat(path)).mode & 0o007).toBe(0);
  });

  it('writes whole lines if several write to one file', async () => {
    const path = join(folder, 'audit.log');
    const files = ['a', 'b', 'c'].map((name) => ({ ...openFile(path), name }));
    for (let n = 0; n < 300; n++) {
      for (const { file, name } of files) file.write(`${name.repeat(200)}${n}\n`);
      if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.all(files.map(({ file }) => file.close()));
    const lines = await linesOf(path);
    for (const { name } of files) {
      const own = lines.filter((line) => line.startsWith(name));
      expect(own).toEqual(Array.from({ length: 300 }, (_, n) => `${name.repeat(200)}${n}`));
    }
    expect(lines).toHaveLength(900);
  });

  it('continues in a new file after a rotator has renamed its file, and loses nothing', async () => {
    const path = join(folder, 'audit.log');
    const { file } = openFile(path);
    file.write('0\n');
    await vi.waitUntil(async () => (await linesOf(path)).length === 1, waitOptions);
    await rename(path, `${path}.1`);
    let count = 1;
    await vi.waitUntil(async () => {
      file.write(`${count++}\n`);
      return (await linesOf(path)).length > 0;
    }, waitOptions);
    await file.close();
    const all = [...(await linesOf(`${path}.1`)), ...(await linesOf(path))];
    expect(all).toEqual(Array.from({ length: count }, (_, n) => String(n)));
  });

  it('keeps lines in memory while it cannot write, reports that once, and writes them later', async () => {
    const path = join(folder, 'missing', 'audit.log');
    const { file, events } = openFile(path);
    file.write('one\n');
    await vi.waitUntil(() => events.attempts > 0, waitOptions);
    file.write('two\n');
    await vi.waitUntil(() => events.attempts > 1, waitOptions);
    await mkdir(join(folder, 'missing'));
    await vi.waitUntil(async () => (await linesOf(path)).length === 2, waitOptions);
    await file.close();
    expect(await linesOf(path)).toEqual(['one', 'two']);
    expect(events).toMatchObject({ failures: [{ code: 'ENOENT' }, undefined], lost: 0 });
  });

  it('gives up lines above its limit, and at its end', async () => {
    const { file, events } = openFile(join(folder, 'missing', 'audit.log'), 10);
    for (const line of ['12345678\n', 'too long\n', 'x\n']) file.write(line);
    expect(events.lost).toBe(2);
    await file.close();
    expect(events.lost).toBe(3);
  });

  it.skipIf(process.platform !== 'linux')('survives a full disk', async () => {
    const { file, events } = openFile('/dev/full');
    file.write('one\n');
    await vi.waitUntil(() => events.attempts > 0, waitOptions);
    await file.close();
    expect(events).toMatchObject({ failures: [{ code: 'ENOSPC' }], lost: 1 });
  });

  it('writes what waits when the process exits', async () => {
    const path = join(folder, 'audit.log');
    const program = `
      import { AppendFile } from ${JSON.stringify(new URL('../../dist/src/telemetry/append-file.js', import.meta.url).href)};
      const file = new AppendFile(${JSON.stringify(path)}, { onFailure() {}, onLost() {} });
      file.write('one\\n');
      setTimeout(() => { file.write('two\\n'); process.exit(0); }, 200);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' });
    await once(child, 'exit');
    expect(await linesOf(path)).toEqual(['one', 'two']);
  });
});
