/** Compares code that exists only to save CPU time with the library's code that it replaces. */
import { createCipheriv, createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { destination } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { GetUserResponse, ListUsersResponse } from '../../generated/users/v1/user_service.js';
import { decodeStoredUser } from '../../src/database/columns.js';
import { emptyTexts } from '../../src/fields.js';
import { displayName, etagOf, type User } from '../../src/model/user.js';
import { createUserId } from '../../src/operations/user-ids.js';
import { userResponses } from '../../src/rpc/user-codec.js';
import type { Case, Numbers, Scenario } from '../scenario.js';
import { storedUser } from '../stored-user.js';

interface Comparison {
  readonly what: string;
  readonly own: () => unknown;
  readonly library: () => unknown;
}

const userOf = (index: number): User => ({
  ...emptyTexts,
  id: uuidv7(),
  firstName: 'Grace',
  lastName: 'Hopper',
  email: `grace.hopper.${index}@example.com`,
  profileImageUrl: `https://img.example.com/${index}.png`,
  attributes: { department: 'ops', level: index % 10 },
  createTime: new Date(1_790_000_000_000 + 1000 * index),
  updateTime: new Date(1_790_000_000_000 + 1000 * index),
  version: 1 + index,
});
const user = userOf(0);
const users = Array.from({ length: 50 }, (_, index) => userOf(index));
const messageOf = (of: User) => ({ ...of, displayName: displayName(of), etag: etagOf(of) });

const keyBytes = randomBytes(32);
const keyObject = createSecretKey(keyBytes);
const position = 'a position in a list';
function seal(key: Buffer | KeyObject): string {
  const nonce = createHmac('sha256', key).update(position).digest().subarray(0, 12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  return Buffer.concat([nonce, cipher.update(position), cipher.final()]).toString('base64url');
}

const page = { users: users.map(storedUser), nextPageToken: '', totalSize: undefined };
const comparisons: readonly Comparison[] = [
  { what: 'an id', own: createUserId, library: () => uuidv7() },
  {
    what: 'encoding a GetUserResponse',
    own: () => userResponses.getUser({ user }),
    library: () => GetUserResponse.encode({ user: messageOf(user) }).finish(),
  },
  {
    what: 'encoding a page of 50 rows',
    own: () => userResponses.listUsers(page),
    library: () => {
      const decoded = page.users.map(decodeStoredUser).map(messageOf);
      return ListUsersResponse.encode({ ...page, users: decoded }).finish();
    },
  },
  { what: 'sealing a page token', own: () => seal(keyObject), library: () => seal(keyBytes) },
];

// About as many calls end in one turn of the event loop under load.
const lines = Array.from({ length: 16 }, () => `{"level":"info","msg":"${'x'.repeat(180)}"}\n`);

/** One write for all lines, as in line-writer.ts, and pino's own destination. */
function writingLines(file: number): Comparison {
  const sonicBoom = destination({ fd: file, sync: true });
  return {
    what: 'writing 16 lines of the log',
    own: () => writeSync(file, lines.join('')),
    library: () => lines.map((line) => sonicBoom.write(line)),
  };
}

// Between two looks at the clock.
const repetitions = 100;

function measure(work: () => unknown, measureMs: number): Numbers {
  const before = process.cpuUsage();
  const end = performance.now() + measureMs;
  let count = 0;
  do {
    for (let index = 0; index < repetitions; index++) work();
    count += repetitions;
  } while (performance.now() < end);
  const { user, system } = process.cpuUsage(before);
  return { us: (user + system) / count };
}

export const micro: Scenario = {
  name: 'micro',
  title: 'Code of ours instead of a library',
  about:
    'The CPU time of code that exists only to save it, and of the code of the library that it replaces. All cases run in one process, ' +
    'whose compiler and garbage collection count.',

  async open({ times: { measureMs } }) {
    const folder = await mkdtemp(join(tmpdir(), 'roster-bench-'));
    const file = await open(join(folder, 'log'), 'a');
    const all = [...comparisons, writingLines(file.fd)];
    const cases = all.flatMap(({ what, own, library }): Case[] => [
      { labels: { what, code: 'own' }, measure: async () => measure(own, measureMs) },
      { labels: { what, code: "the library's" }, measure: async () => measure(library, measureMs) },
    ]);
    return {
      cases,
      columns: [{ name: 'us', heading: 'CPU µs', digits: 2, spread: true }],
      settle: () => file.truncate(),
      async [Symbol.asyncDispose]() {
        await file.close();
        await rm(folder, { recursive: true });
      },
    };
  },
};
