/** A server whose certificate is replaced on the disk. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ChannelCredentials } from '@grpc/grpc-js';
import { expect, it, onTestFinished, vi } from 'vitest';
import { readTls } from '../../src/config/tls.js';
import { watchTls } from '../../src/config/tls-reload.js';
import { createAuthority } from '../certificates.js';
import { ada, clientFor, rawCall, startTestServer, storedAda } from '../rpc/harness.js';

it('serves new connections with the new certificate, also after it was incomplete', async () => {
  const folder = fs.mkdtempSync(path.join(tmpdir(), 'roster-tls-'));
  onTestFinished(() => fs.rmSync(folder, { recursive: true }));
  const files = { cert: path.join(folder, 'cert.pem'), key: path.join(folder, 'key.pem') };
  const [first, second] = [createAuthority('First'), createAuthority('Second')];
  const [before, after] = [first.issue('server'), second.issue('server')];
  fs.writeFileSync(files.cert, before.cert);
  fs.writeFileSync(files.key, before.key);
  const tls = await readTls(files);
  const server = await startTestServer({ getUser: async () => storedAda }, { tls });
  const errors: unknown[] = [];
  const onError = (error: unknown) => errors.push(error);
  onTestFinished(watchTls(files, tls, { onChange: server.setTls, onError, intervalMs: 20 }));
  const isServedBy = async (authority: { cert: string }) => {
    const credentials = ChannelCredentials.createSsl(Buffer.from(authority.cert));
    const request = Buffer.from(`\n\x24${ada.id}`);
    const client = clientFor(server.target, credentials);
    const { code } = await rawCall(client, '/users.v1.UserService/GetUser', request, undefined, Date.now() + 10_000);
    return code === 'OK';
  };
  expect(await isServedBy(first)).toBe(true);

  fs.writeFileSync(files.cert, after.cert);
  await vi.waitUntil(() => errors.length > 0, { timeout: 30_000 });
  expect(await isServedBy(first)).toBe(true);
  fs.writeFileSync(files.key, after.key);
  await vi.waitUntil(() => isServedBy(second), { timeout: 30_000 });
  expect(await isServedBy(first)).toBe(false);
});
