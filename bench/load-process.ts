/**
 * Calls one server, in a closed loop or at a fixed rate, in a separate process so that its CPU is measured separately.
 *
 * It checks the grpc-status of every call, and decodes and checks one answer in 64.
 */
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import {
  BatchCreateUsersRequest,
  BatchCreateUsersResponse,
  BatchGetUsersRequest,
  BatchGetUsersResponse,
  CreateUserRequest,
  CreateUserResponse,
  GetUserByEmailRequest,
  GetUserByEmailResponse,
  GetUserRequest,
  GetUserResponse,
  ListUsersRequest,
  ListUsersResponse,
  UpdateUserRequest,
  UpdateUserResponse,
  WatchUsersRequest,
  WatchUsersResponse,
} from '../generated/users/v1/user_service.js';
import { type GrpcConnection, openGrpcConnection } from './grpc-connection.js';
import { openHttpConnection } from './http-connection.js';
import { type LoadResult, userEmail, userId, type Work } from './load.js';

interface Op {
  readonly path: string;
  /** The next request's bytes. */
  next(): Uint8Array;
  isRight(answer: Uint8Array): boolean;
}

const [work] = (await once(process, 'message')) as [Work];
const service = '/users.v1.UserService';
const pick = () => Math.floor(Math.random() * work.users);
const rows = work.rows ?? 100;

// Keeps the emails of two runs apart.
const run = `${Date.now().toString(36)}${process.pid}`;
let created = 0;
const newUser = () => ({
  firstName: 'Ada',
  lastName: 'Lovelace',
  email: `Load.${run}.${++created}@example.com`,
  profileImageUrl: `https://img.example.com/${created}.png`,
  attributes: { department: 'ops', level: 3 },
});

const ops: Record<Work['op'], () => Op> = {
  get: () => ({
    path: `${service}/GetUser`,
    next: () => GetUserRequest.encode({ id: userId(pick()) }).finish(),
    isRight: (answer) => GetUserResponse.decode(answer).user?.id.length === 36,
  }),
  'get-by-email': () => ({
    path: `${service}/GetUserByEmail`,
    next: () => GetUserByEmailRequest.encode({ email: userEmail(pick()) }).finish(),
    isRight: (answer) => GetUserByEmailResponse.decode(answer).user?.id.length === 36,
  }),
  create: () => ({
    path: `${service}/CreateUser`,
    next: () => CreateUserRequest.encode(CreateUserRequest.fromPartial({ user: newUser() })).finish(),
    isRight: (answer) => CreateUserResponse.decode(answer).user?.email.startsWith(`Load.${run}`) === true,
  }),
  update: () => ({
    path: `${service}/UpdateUser`,
    next() {
      const user = { id: userId(pick()), firstName: `Ada ${Math.random()}` };
      return UpdateUserRequest.encode(UpdateUserRequest.fromPartial({ user, updateMask: ['first_name'] })).finish();
    },
    isRight: (answer) => UpdateUserResponse.decode(answer).user?.firstName.startsWith('Ada 0.') === true,
  }),
  list: () => {
    const tokens = work.pageTokens ?? [''];
    const requests = tokens.map((pageToken) =>
      ListUsersRequest.encode(ListUsersRequest.fromPartial({ pageSize: 50, pageToken })).finish(),
    );
    return {
      path: `${service}/ListUsers`,
      next: () => requests[Math.floor(Math.random() * requests.length)] ?? new Uint8Array(),
      isRight: (answer) => ListUsersResponse.decode(answer).users.length === 50,
    };
  },
  'batch-get': () => ({
    path: `${service}/BatchGetUsers`,
    next: () => BatchGetUsersRequest.encode({ ids: Array.from({ length: rows }, () => userId(pick())) }).finish(),
    isRight: (answer) => BatchGetUsersResponse.decode(answer).users.length === rows,
  }),
  'batch-create': () => ({
    path: `${service}/BatchCreateUsers`,
    next() {
      const users = Array.from({ length: rows }, newUser);
      return BatchCreateUsersRequest.encode(BatchCreateUsersRequest.fromPartial({ users })).finish();
    },
    isRight: (answer) => BatchCreateUsersResponse.decode(answer).users.length === rows,
  }),
  health: () => ({
    path: '/grpc.health.v1.Health/Check',
    next: () => new Uint8Array(),
    // HealthCheckResponse { status: SERVING }
    isRight: (answer) => answer[0] === 8 && answer[1] === 1,
  }),
  watch: () => ({
    path: `${service}/WatchUsers`,
    next: () => WatchUsersRequest.encode(WatchUsersRequest.fromPartial({ heartbeat: { seconds: 600 } })).finish(),
    isRight: () => true,
  }),
};

const op = ops[work.op]();
const statusDeadlineExceeded = 4;
const statusDataLoss = 15;
const sampleEvery = 64;

const headers: Record<string, string> = {
  ...(work.deadlineMs !== undefined && { 'grpc-timeout': `${work.deadlineMs}m` }),
  ...(work.token !== undefined && { authorization: `Bearer ${work.token}` }),
};
const connections = await Promise.all(
  Array.from({ length: work.connections }, () =>
    work.protocol === undefined
      ? openGrpcConnection(work.address, op.path, headers, work.localAddress)
      : openHttpConnection(work.address, op.path, work.protocol, headers),
  ),
);
const countLost = () => connections.reduce((sum, connection) => sum + connection.lost, 0);
let lostBefore = 0;

let measuredSinceMs = 0;
let isStopped = false;
let calls = 0;
let unsent = 0;
let endMs: number[] = [];
let latencyMs: number[] = [];
let status: number[] = [];

/** In order of deadline because all calls have the same timeout. */
const inFlight = new Map<() => void, number>();

function call(connection: GrpcConnection | undefined, done: () => void): void {
  if (connection === undefined) throw new Error('The load has no connection.');
  const startMs = performance.now();
  const isSample = calls++ % sampleEvery === 0;
  const chunks: Buffer[] = [];
  let bytes = 0;
  const onEnd = (code: number) => {
    inFlight.delete(expire);
    if (isStopped) return;
    const isWrong = code === 0 && (bytes < 6 || (isSample && !op.isRight(Buffer.concat(chunks).subarray(5))));
    const nowMs = performance.now();
    endMs.push(nowMs - measuredSinceMs);
    latencyMs.push(nowMs - startMs);
    status.push(isWrong ? statusDataLoss : code);
    done();
  };
  const cancel = connection.call(op.next(), {
    onData(chunk) {
      bytes += chunk.length;
      if (isSample) chunks.push(chunk);
    },
    onEnd,
  });
  // Like gRPC clients: at the deadline it cancels the call and ignores a later answer.
  const expire = () => {
    cancel();
    onEnd(statusDeadlineExceeded);
  };
  if (work.deadlineMs !== undefined) inFlight.set(expire, startMs + work.deadlineMs);
}

function callInALoop(connection: GrpcConnection | undefined): void {
  call(connection, () => callInALoop(connection));
}

/** Open loop: starts calls at a fixed rate, whether or not earlier calls have ended. */
function callAtARate(perSecond: number): void {
  const sinceMs = performance.now();
  let due = 0;
  setInterval(() => {
    const upTo = Math.floor(((performance.now() - sinceMs) * perSecond) / 1000);
    // Skips calls that this process could not send in time. Otherwise they would go out in one burst.
    const late = Math.max(0, upTo - due - Math.ceil(perSecond / 10));
    unsent += late;
    for (due += late; due < upTo; due++) call(connections[due % connections.length], () => {});
  }, 1);
}

let changes = 0;
const watched: number[] = [];

/** The first watcher counts changes; the others must receive the same number of bytes. */
function watch(connection: GrpcConnection | undefined, index: number): Promise<void> {
  let rest = Buffer.alloc(0);
  watched[index] = 0;
  return new Promise((resolve, reject) => {
    connection?.call(op.next(), {
      onData(chunk) {
        resolve();
        watched[index] = (watched[index] ?? 0) + chunk.length;
        if (index > 0) return;
        rest = Buffer.concat([rest, chunk]);
        for (let end = 0; rest.length >= 5; rest = rest.subarray(end)) {
          end = 5 + rest.readUInt32BE(1);
          if (rest.length < end) break;
          changes += WatchUsersResponse.decode(rest.subarray(5, end)).changes.length;
        }
      },
      onEnd: (code) => reject(new Error(`A watch ended with status ${code}.`)),
    });
  });
}

if (work.deadlineMs !== undefined) {
  setInterval(() => {
    const nowMs = performance.now();
    for (const [expire, deadlineMs] of inFlight) {
      if (deadlineMs > nowMs) break;
      inFlight.delete(expire);
      expire();
    }
  }, 5);
}

process.on('message', (command: 'measure' | 'stop') => {
  if (command === 'measure') {
    measuredSinceMs = performance.now();
    [endMs, latencyMs, status] = [[], [], []];
    [unsent, lostBefore] = [0, countLost()];
    changes = 0;
    watched.fill(0);
    return;
  }
  isStopped = true;
  const counts = { endMs, latencyMs, status, unsent, lost: countLost() - lostBefore, changes };
  const behind = watched.filter((bytes) => bytes < (watched[0] ?? 0)).length;
  const result: LoadResult = { ...counts, seconds: (performance.now() - measuredSinceMs) / 1000, behind };
  process.send?.(result, () => process.exit());
});

// The parent process has exited.
process.on('disconnect', () => process.exit());

if (work.op === 'watch') {
  await Promise.all(
    Array.from({ length: work.inFlight ?? 1 }, (_, index) => watch(connections[index % connections.length], index)),
  );
} else if (work.perSecond === undefined) {
  for (let slot = 0; slot < (work.inFlight ?? 1); slot++) callInALoop(connections[slot % connections.length]);
} else {
  callAtARate(work.perSecond);
}
process.send?.('working');
