/** TLS of the gRPC port and of the HTTP port: versions and client certificates. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect, type SecureVersion } from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import { parseGatewayConfig } from '../../src/config/parse.js';
import { startGateway } from '../../src/gateway/start-gateway.js';
import { createAuthority } from '../certificates.js';
import { startTestApp } from '../support/app.js';

const authority = createAuthority();

function createFiles() {
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-tls-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const files = { TLS_CERT: path.join(folder, 'cert.pem'), TLS_KEY: path.join(folder, 'key.pem') };
  const write = (from = authority) => {
    const { cert, key } = from.issue('server');
    writeFileSync(files.TLS_CERT, cert);
    writeFileSync(files.TLS_KEY, key);
  };
  write();
  return { files, write };
}

/** The version of TLS that the server and a client with only this version agree on. */
function versionOf(port: number, version: SecureVersion, ca = authority.cert): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({
      port,
      host: 'localhost',
      ca,
      minVersion: version,
      maxVersion: version,
      // OpenSSL of the client would refuse old versions by itself.
      ciphers: 'DEFAULT@SECLEVEL=0',
      ALPNProtocols: ['h2'],
    });
    socket.once('secureConnect', () => {
      resolve(socket.getProtocol() ?? '');
      socket.destroy();
    });
    socket.once('error', ({ message }) => resolve(message));
  });
}

const portOf = (address: string) => Number(address.split(':').at(-1));

it('accepts TLS 1.2 and 1.3, and no earlier version', async () => {
  await using app = await startTestApp(createFiles().files, { tls: { ca: Buffer.from(authority.cert) } });
  for (const port of [portOf(app.address), portOf(app.http)]) {
    expect(await versionOf(port, 'TLSv1.3')).toBe('TLSv1.3');
    expect(await versionOf(port, 'TLSv1.2')).toBe('TLSv1.2');
    expect(await versionOf(port, 'TLSv1.1')).toMatch(/protocol version/);
    expect(await versionOf(port, 'TLSv1')).toMatch(/protocol version/);
  }
});

it('uses a renewed certificate in a standalone gateway', async () => {
  const { files, write } = createFiles();
  const settings = { ...files, HTTP_ADDRESS: 'localhost:0', TARGET: 'localhost:1', LOG_LEVEL: 'silent' };
  const gateway = await startGateway(parseGatewayConfig(settings), { tlsReloadMs: 20 });
  onTestFinished(() => gateway.close());
  expect(await versionOf(gateway.http.port, 'TLSv1.3')).toBe('TLSv1.3');
  const other = createAuthority('Another authority');
  write(other);
  await expect.poll(() => versionOf(gateway.http.port, 'TLSv1.3', other.cert), { timeout: 10_000 }).toBe('TLSv1.3');
  expect(await versionOf(gateway.http.port, 'TLSv1.3')).not.toBe('TLSv1.3');
});
