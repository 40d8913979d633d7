/** Commands explain why they cannot call a server. The servers are real, and each has another fault. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createAuthority } from '../certificates.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { roster, start } from './command-line.js';

const authority = createAuthority();
const foreign = createAuthority('Another authority');
const server = authority.issue('server');
const sockets = new Set<Socket>();

const servers = {
  http: http.createServer((_, response) => response.end('hello')),
  http2: http2.createServer((_, response) => response.end('hello')),
  https: https.createServer(server, (_, response) => response.end('hello')),
  otherName: http2.createSecureServer(authority.issue('server', { host: 'roster.example' })),
  expired: http2.createSecureServer(authority.issue('server', { isExpired: true })),
  mutual: http2.createSecureServer({ ...server, ca: authority.cert, requestCert: true }),
  proxy: http2.createServer((_, response) => response.writeHead(503).end()),
  ssh: createServer((socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n')),
  silent: createServer(),
  closing: createServer((socket) => socket.destroy()),
} satisfies Record<string, Server>;

const ports: Record<string, number> = {};
let app: TestApp;
let secure: TestApp;
let folder: string;
const pem = (name: string) => join(folder, `${name}.pem`);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-'));
  const [client, stranger] = [authority.issue('client'), foreign.issue('stranger')];
  const texts = { ca: authority.cert, 'other-ca': foreign.cert, cert: server.cert, key: server.key };
  const identities = {
    client: client.cert,
    'client-key': client.key,
    stranger: stranger.cert,
    'stranger-key': stranger.key,
  };
  for (const [name, text] of Object.entries({ ...texts, ...identities })) await writeFile(pem(name), text);
  for (const [name, one] of Object.entries(servers)) {
    one.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})));
    await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
    const address = one.address();
    ports[name] = typeof address === 'object' && address !== null ? address.port : 0;
  }
  app = await startTestApp();
  secure = await startTestApp({ TLS_CERT: pem('cert'), TLS_KEY: pem('key'), TLS_CLIENT_CA: pem('ca') });
});
afterAll(async () => {
  for (const one of Object.values(servers)) one.close();
  for (const socket of sockets) socket.destroy();
  await app?.[Symbol.asyncDispose]();
  await secure?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

interface Place {
  /** A server above, or an address. */
  readonly at: string;
  readonly flags?: readonly string[];
}

function addressOf(at: string): string {
  return ports[at] === undefined ? at : `localhost:${ports[at]}`;
}

function call({ at, flags = [] }: Place, ...more: readonly string[]) {
  const files = flags.map((flag) => (flag.startsWith('-') ? flag : pem(flag)));
  // Long enough for a local server, and short enough to wait for a silent one.
  return roster(['list', '--address', addressOf(at), '--deadline-ms', '3000', ...files, ...more]);
}

const trusting = ['--ca', 'ca'];

describe('a command that cannot call a server', () => {
  it.each<[string, Place, string, string]>([
    [
      'nothing listens',
      { at: 'localhost:1' },
      'REFUSED',
      'Cannot connect to ADDRESS: connection refused. Is the server running? Start it with npm run serve.',
    ],
    [
      'the socket is missing',
      { at: 'unix:/nowhere/roster.sock' },
      'UNREACHABLE',
      'Cannot connect to ADDRESS: the socket does not exist or cannot be used (ENOENT). Is the server running? Start it with npm run serve.',
    ],
    [
      'the name is unknown',
      { at: 'no-such-host.invalid:50051' },
      'UNKNOWN_HOST',
      'Cannot connect to ADDRESS: the host name cannot be resolved.',
    ],
    [
      'the server closes connections',
      { at: 'closing' },
      'CLOSED',
      'Cannot connect to ADDRESS: the connection was closed. The server may be restarting, or a proxy may have no server.',
    ],
    [
      'the server does not answer',
      { at: 'silent' },
      'NO_ANSWER',
      'ADDRESS accepts connections but does not answer. The server may be overloaded or suspended.',
    ],
    [
      'it is an HTTP server',
      { at: 'http' },
      'NOT_GRPC',
      'ADDRESS is not a gRPC server, but an HTTP server. Check the address.',
    ],
    [
      'it is an HTTP/2 server',
      { at: 'http2' },
      'NOT_GRPC',
      'ADDRESS is not a gRPC server, but an HTTP server. Check the address.',
    ],
    [
      'it is an SSH server',
      { at: 'ssh' },
      'NOT_GRPC',
      'ADDRESS is not a gRPC server, but another kind of server. Check the address.',
    ],
    [
      'the server requires TLS',
      { at: 'mutual' },
      'TLS_REQUIRED',
      'ADDRESS requires TLS. Add --tls, and --ca if a private authority has signed its certificate.',
    ],
    [
      'it is an HTTPS server and the call uses TLS',
      { at: 'https', flags: trusting },
      'NOT_GRPC',
      'ADDRESS is not a gRPC server, but an HTTPS server without HTTP/2. Check the address.',
    ],
    [
      'it is an SSH server and the call uses TLS',
      { at: 'ssh', flags: trusting },
      'NOT_GRPC',
      'ADDRESS is not a gRPC server, but another kind of server. Check the address.',
    ],
    [
      'the system does not trust the certificate',
      { at: 'mutual', flags: ['--tls'] },
      'CERTIFICATE_UNTRUSTED',
      'The certificate of ADDRESS is not from an authority that this machine trusts. Pass its authority with --ca.',
    ],
    [
      'the certificate is from another authority',
      { at: 'mutual', flags: ['--ca', 'other-ca'] },
      'CERTIFICATE_UNTRUSTED',
      'The certificate of ADDRESS is not from an authority in the file of --ca (ROSTER_CA).',
    ],
    [
      'the certificate has expired',
      { at: 'expired', flags: trusting },
      'CERTIFICATE_EXPIRED',
      'The certificate of ADDRESS has expired. Renew it on the server, and check the clock of this machine.',
    ],
    [
      'the certificate is for another name',
      { at: 'otherName', flags: trusting },
      'CERTIFICATE_FOR_OTHER_NAME',
      'The certificate of ADDRESS is for roster.example, not for localhost. Use a name that is in the certificate.',
    ],
    [
      'the server requires a client certificate',
      { at: 'mutual', flags: trusting },
      'CLIENT_CERTIFICATE_REQUIRED',
      'ADDRESS requires a client certificate. Pass it with --cert and --key.',
    ],
    [
      'the client certificate is from another authority',
      { at: 'mutual', flags: [...trusting, '--cert', 'stranger', '--key', 'stranger-key'] },
      'CLIENT_CERTIFICATE_REFUSED',
      'ADDRESS does not accept the client certificate. It must be valid, and from an authority that the server trusts.',
    ],
  ])('says that %s', async (_, place, fault, message) => {
    const address = addressOf(place.at);
    const text = message.replace('ADDRESS', address);
    const { code, out, err } = await call(place);
    expect({ code, out }).toEqual({ code: 5, out: '' });
    expect(err.startsWith(`error: ${text}`)).toBe(true);
    expect(err.split('\n')).toHaveLength(2);
    const { error } = JSON.parse((await call(place, '--json')).err);
    expect(error).toMatchObject({
      code: 'UNAVAILABLE',
      exitCode: 5,
      violations: [],
      connections: [{ address, fault }],
    });
    expect(`error: ${error.message}\n`).toBe(err);
  });

  it('names the gRPC port if the address is the HTTP port', async () => {
    const httpAddress = app.http.replace('http://', '');
    const [, port] = app.address.split(':');
    expect((await call({ at: httpAddress })).err).toBe(
      `error: ${httpAddress} is Roster's HTTP port. gRPC is on port ${port}: use --address ${app.address}.\n`,
    );
    const wrong = secure.http.replace('http://', '');
    expect((await call({ at: wrong })).err).toContain(`${wrong} requires TLS.`);
  });

  it('says that Roster requires TLS or does not use it, and what its mutual TLS requires', async () => {
    expect((await call({ at: secure.address })).err).toContain(`${secure.address} requires TLS.`);
    expect((await call({ at: app.address, flags: trusting })).err).toContain(`${app.address} does not use TLS.`);
    expect((await call({ at: secure.address, flags: trusting })).err).toContain('requires a client certificate.');
    const stranger = [...trusting, '--cert', 'stranger', '--key', 'stranger-key'];
    expect((await call({ at: secure.address, flags: stranger })).err).toContain(
      'does not accept the client certificate.',
    );
  });

  it('has one line for each of several addresses', async () => {
    const { code, err } = await call({ at: `127.0.0.1:1,${addressOf('http')}` });
    expect(code).toBe(5);
    expect(err.split('\n')).toEqual([
      'error: Cannot call any of the 2 addresses.',
      '  Cannot connect to 127.0.0.1:1: connection refused. Is the server running? Start it with npm run serve.',
      `  ${addressOf('http')} is not a gRPC server, but an HTTP server. Check the address.`,
      '',
    ]);
  });

  it('shows the status of a proxy without a server', async () => {
    expect((await call({ at: 'proxy' })).err).toContain('503');
  });

  it('explains the failures of health, import and watch too', async () => {
    const file = join(folder, 'users.csv');
    await writeFile(file, 'first_name,email\nAda,ada@example.com\n');
    for (const command of [['health'], ['import', file], ['watch']]) {
      const { code, err } = await roster([...command, '--address', addressOf('http')]);
      expect(code).toBe(5);
      expect(err).toContain(`${addressOf('http')} is not a gRPC server`);
      expect(err.toLowerCase()).not.toContain('again');
    }
  });

  it('does not explain a server behind a proxy, because it would connect without the proxy', async () => {
    const proxy = `http://${addressOf('closing')}`;
    // For grpc-js, which reads the variable of the process.
    vi.stubEnv('http_proxy', proxy);
    onTestFinished(() => void vi.unstubAllEnvs());
    // No machine has this address (RFC 5737).
    const args = ['list', '--address', '192.0.2.1:1', '--deadline-ms', '3000'];
    const { err } = await roster(args, { env: { http_proxy: proxy } });
    expect(err).toMatch(/^error: .*\((?:UNAVAILABLE|DEADLINE_EXCEEDED)\)\n$/);
  });

  it('ends a watch that is interrupted while it finds the reason', async () => {
    let connections = 0;
    // The first call fails, and then nothing answers the questions about the reason.
    const failing = createServer((socket) => {
      sockets.add(socket.on('error', () => {}));
      if (++connections === 1) socket.destroy();
    });
    await new Promise<void>((resolve) => failing.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void failing.close());
    const address = failing.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const watching = start(['watch', '--address', `127.0.0.1:${port}`]);
    await expect.poll(() => connections, { timeout: 30_000 }).toBeGreaterThanOrEqual(3);
    watching.signals.emit('SIGINT', 'SIGINT');
    expect(await watching.ended).toEqual({ code: 130, out: '', err: '' });
    // Node reports a rejection that nothing handles after the microtasks.
    await new Promise((resolve) => setImmediate(resolve));
  });
});
