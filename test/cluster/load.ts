/**
 * Clients that create, update, delete and read users, and record every call. Each user has only one writer, so the writer
 * knows which version the next one must be.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { User } from '../../generated/users/v1/user.js';
import { type Client, createClient, RosterError } from '../../src/client/index.js';
import { type History, type Outcome, versionIn, type WriteKind } from './history.js';

const writers = 8;
/** Of each kind: with and without a consistency token. */
const readers = 2;
const usersAtStart = 5;
const listShare = 0.2;
const listedUsers = 20;
// Keeps the rate at a few hundred calls a second, because the three databases may share two cores.
const pauseMs = 25;
// A call fails soon, so that its writer tries again as soon as writes are possible.
const deadlineMs = 3_000;
// The longest time that a writer waits for the outcome of its last call.
const settleMsMax = 90_000;

export interface Load {
  readonly history: History;
  /** Stops the clients. Resolves when each writer knows what its last call has done. */
  stop(): Promise<void>;
}

/** A user, as its writer knows it. */
interface Known {
  readonly id: string;
  etag: string;
  /** Whether the etag is from an acknowledged write, and not from a later read. */
  isCertain: boolean;
}

/** The highest acknowledged version of each user. Deleted users are removed before the delete is sent. */
type Acknowledged = Map<string, number>;

interface Context {
  readonly client: Client;
  readonly history: History;
  readonly acknowledged: Acknowledged;
  readonly stopping: AbortSignal;
  /** Set after settleMsMax, if the cluster has not recovered. */
  readonly abandoned: AbortSignal;
}

export function startLoad(addresses: readonly string[], history: History): Load {
  const client = createClient({ address: addresses, deadlineMs });
  const clientWithoutToken = createClient({ address: addresses, deadlineMs, consistency: false });
  const stopping = new AbortController();
  const abandoned = new AbortController();
  const context: Context = {
    client,
    history,
    acknowledged: new Map(),
    stopping: stopping.signal,
    abandoned: abandoned.signal,
  };
  const clients = Promise.all([
    ...Array.from({ length: writers }, () => write(context)),
    ...Array.from({ length: readers }, () => read(context, client, true)),
    ...Array.from({ length: readers }, () => read(context, clientWithoutToken, false)),
  ]);
  clients.catch(() => {});
  return {
    history,
    async stop() {
      stopping.abort();
      const timer = setTimeout(() => abandoned.abort(), settleMsMax);
      try {
        await clients;
      } finally {
        clearTimeout(timer);
        client.close();
        clientWithoutToken.close();
      }
    },
  };
}

async function write(context: Context): Promise<void> {
  const users: Known[] = [];
  while (!context.stopping.aborted) {
    await sleep(pauseMs * (0.5 + Math.random()));
    const user = users[Math.floor(Math.random() * users.length)];
    const chance = Math.random();
    if (user === undefined || users.length < usersAtStart || chance < 0.1) await create(context, users);
    else if (chance < 0.15) await remove(context, users, user);
    else await update(context, users, user);
  }
}

interface Result<Response> {
  readonly outcome: Outcome;
  readonly response?: Response;
}

/** Sends a write and records it. Errors that are not the service's are bugs of this test, and are thrown. */
async function record<Response extends { readonly user?: User | undefined }>(
  { history, acknowledged }: Context,
  kind: WriteKind,
  { id, isCertain }: Pick<Known, 'id' | 'isCertain'>,
  send: () => Promise<Response>,
): Promise<Result<Response>> {
  const startMs = Date.now();
  try {
    const response = await send();
    const { user } = response;
    const userId = user?.id ?? id;
    const change = user && { version: versionIn(user.etag), timeMs: user.updateTime?.getTime(), etag: user.etag };
    const endMs = Date.now();
    history.writes.push({ kind, userId, outcome: 'acknowledged', ...change, isCertain, startMs, endMs });
    if (change !== undefined) acknowledged.set(userId, change.version);
    return { outcome: 'acknowledged', response };
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    const outcome = isRefusal(error) ? 'refused' : 'unknown';
    history.writes.push({ kind, userId: id, outcome, code: error.code, isCertain, startMs, endMs: Date.now() });
    return { outcome };
  }
}

/** Whether the directory has decided not to write. */
function isRefusal({ code }: RosterError): boolean {
  return ['ABORTED', 'ALREADY_EXISTS', 'NOT_FOUND', 'INVALID_ARGUMENT', 'FAILED_PRECONDITION'].includes(code);
}

/** Repeats the create with its request id until the outcome is known. */
async function create(context: Context, users: Known[]): Promise<void> {
  const requestId = randomUUID();
  const user = { firstName: 'Ada', email: `${randomUUID()}@example.com` };
  while (!context.abandoned.aborted) {
    const send = () => context.client.createUser({ user, requestId });
    const { outcome, response } = await record(context, 'created', { id: '', isCertain: true }, send);
    if (response?.user !== undefined) users.push({ ...response.user, isCertain: true });
    if (outcome !== 'unknown') return;
    await sleep(pauseMs);
  }
}

async function update(context: Context, users: Known[], user: Known): Promise<void> {
  const firstName = randomUUID();
  const { id, etag } = user;
  const send = () => context.client.updateUser({ user: { id, etag, firstName }, updateMask: ['first_name'] });
  const { response } = await record(context, 'updated', user, send);
  if (response?.user !== undefined) Object.assign(user, { etag: response.user.etag, isCertain: true });
  else await reread(context, users, user);
}

async function remove(context: Context, users: Known[], user: Known): Promise<void> {
  const { id, etag } = user;
  context.acknowledged.delete(id);
  const send = async () => {
    await context.client.deleteUser({ id, etag });
    return {};
  };
  const { outcome } = await record(context, 'deleted', user, send);
  if (outcome === 'acknowledged') users.splice(users.indexOf(user), 1);
  else await reread(context, users, user);
}

/** Finds out what a failed write has done to the user. */
async function reread({ client, abandoned }: Context, users: Known[], user: Known): Promise<void> {
  while (!abandoned.aborted) {
    try {
      const { user: found } = await client.getUser({ id: user.id });
      Object.assign(user, { etag: found?.etag, isCertain: false });
      return;
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      if (error.code === 'NOT_FOUND') {
        users.splice(users.indexOf(user), 1);
        return;
      }
    }
    await sleep(pauseMs);
  }
}

async function read(context: Context, client: Client, hasToken: boolean): Promise<void> {
  const { history, acknowledged, stopping } = context;
  while (!stopping.aborted) {
    await sleep(pauseMs * (0.5 + Math.random()));
    const before = new Map(acknowledged);
    const ids = [...before.keys()];
    const userId = ids[Math.floor(Math.random() * ids.length)];
    if (userId === undefined) continue;
    const startMs = Date.now();
    const { code, versions } = await readOnce(() =>
      Math.random() < listShare ? list(client) : lookUp(client, userId),
    );
    // A user may have been deleted during the read.
    const found = versions.find(([id, version]) => version < (before.get(id) ?? 0) && acknowledged.has(id));
    const stale = found && { stale: { userId: found[0], version: found[1] } };
    history.reads.push({ hasToken, ...(code && { code }), ...stale, startMs, endMs: Date.now() });
  }
}

/** The id and the version of each user that was read. The version is 0 if the user was not found. */
type Versions = [string, number][];

async function readOnce(send: () => Promise<Versions>): Promise<{ code?: string; versions: Versions }> {
  try {
    return { versions: await send() };
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    return { code: error.code, versions: [] };
  }
}

async function lookUp(client: Client, id: string): Promise<Versions> {
  try {
    const { user } = await client.getUser({ id });
    return [[id, versionIn(user?.etag ?? '')]];
  } catch (error) {
    if (error instanceof RosterError && error.code === 'NOT_FOUND') return [[id, 0]];
    throw error;
  }
}

async function list(client: Client): Promise<Versions> {
  const { users } = await client.listUsers({ orderBy: 'create_time desc', pageSize: listedUsers });
  return users.map(({ id, etag }) => [id, versionIn(etag)]);
}
