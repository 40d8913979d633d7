/** Measures what it costs to know the caller by a token. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SignJWT } from 'jose';
import { measureLoad, startLoad, type Work } from '../load.js';
import { loadColumns, type Numbers, openDirectory, type Scenario } from '../scenario.js';
import { readUsage } from '../usage.js';

const inFlight = 64;
const unauthenticated = 16;

export const tokens: Scenario = {
  name: 'tokens',
  title: 'Tokens',
  about:
    `GetUser with ${inFlight} calls in flight over 4 connections: of a server that is open, of the same server if the client sends a ` +
    'token that the server ignores, and of a server that requires the token. The token was verified before, so that a call only looks it up. Then calls that are refused: without a token, and with a token that has a wrong signature.',

  async open(bench) {
    await using cleanUp = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'roster-tokens-'));
    cleanUp.defer(() => rm(folder, { recursive: true }));
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const keys = [{ ...publicKey.export({ format: 'jwk' }), kid: 'bench', alg: 'RS256' }];
    await writeFile(join(folder, 'keys.json'), JSON.stringify({ keys }));
    const accessFile = join(folder, 'access.json');
    const issuers = [{ name: 'bench', issuer: 'https://bench.example', audience: 'roster', jwks_file: 'keys.json' }];
    const callers = [{ issuer: 'bench', claims: { group: 'bench' }, role: 'reader' }];
    await writeFile(accessFile, JSON.stringify({ issuers, callers }));
    // As large as the tokens of common issuers.
    const claims = {
      iss: 'https://bench.example',
      aud: 'roster',
      sub: 'caller',
      group: 'bench',
      padding: 'x'.repeat(400),
    };
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: 'bench', typ: 'JWT' })
      .setExpirationTime('12h')
      .sign(privateKey);
    const forged = `${token.slice(0, -10)}${'A'.repeat(10)}`;
    const open = cleanUp.use(await openDirectory(bench, 'tokens_open', bench.users));
    const closed = cleanUp.use(await openDirectory(bench, 'tokens', bench.users, { ACCESS_FILE: accessFile }));

    /** CPU is for each refused call. */
    async function measureRefused(work: Pick<Work, 'token'>): Promise<Numbers> {
      const { address, users } = closed;
      await using load = await startLoad({ address, users, op: 'get', connections: 4, inFlight, ...work });
      await sleep(bench.times.warmUpMs);
      load.measure();
      const before = readUsage([closed.pid]);
      await sleep(bench.times.measureMs);
      const after = readUsage([closed.pid]);
      const result = await load.stop();
      await closed.truncateLog?.();
      const refused = result.status.filter((status) => status === unauthenticated).length;
      const [cpuMs = Number.NaN] = after.cpuMs.map((ms, index) => ms - (before.cpuMs[index] ?? Number.NaN));
      return { perSecond: refused / result.seconds, serviceUs: (cpuMs * 1000) / refused };
    }

    const owned = cleanUp.move();
    return {
      cases: [
        {
          labels: { server: 'open', call: 'GetUser' },
          measure: () => measureLoad(open, { op: 'get', inFlight }, bench.times),
        },
        {
          labels: { server: 'open, ignores the token', call: 'GetUser' },
          measure: () => measureLoad(open, { op: 'get', inFlight, token }, bench.times),
        },
        {
          labels: { server: 'requires a token', call: 'GetUser' },
          measure: () => measureLoad(closed, { op: 'get', inFlight, token }, bench.times),
        },
        { labels: { server: 'requires a token', call: 'refused, no token' }, measure: () => measureRefused({}) },
        {
          labels: { server: 'requires a token', call: 'refused, wrong signature' },
          measure: () => measureRefused({ token: forged }),
        },
      ],
      columns: loadColumns,
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};
