/**
 * The gRPC server: its services, interceptors, middleware, health, reflection and shutdown.
 *
 * It does not know the database. The application sets whether it is serving.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerCredentials, type ServerInterceptor, setLogger } from '@grpc/grpc-js';
import { createServer } from 'nice-grpc';
import { ProfileServiceDefinition } from '../../generated/profileservice/profile.js';
import { UserServiceDefinition } from '../../generated/users/v1/user_service.js';
import { settlesWithin } from '../concurrency/abort.js';
import { serverStopping } from '../model/fault.js';
import { messageBytesMax } from '../model/user.js';
import type { Address } from '../net/address.js';
import { sessionMegabytesMax } from '../net/connections.js';
import type { Directory } from '../operations/directory.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type CallObserver, createCallObserver } from './call-observer.js';
import { createFaultMiddleware } from './fault-middleware.js';
import { createHealth, type Health, healthServiceDefinition, healthServiceName } from './health-service.js';
import { createInnerListener } from './inner-listener.js';
import { type Listener, listen } from './listen.js';
import { createProfileService, profileServiceDefinition } from './profile-service.js';
import { createReflectionService, reflectionServiceDefinitions, reflectionServiceNames } from './reflection-service.js';
import { createUserService, userServiceDefinition } from './user-service.js';

// The time for calls that clients sent before they received GOAWAY to arrive.
const drainTimeoutMs = 100;
// The time to send the statuses of calls that the shutdown ended.
const flushTimeoutMs = 250;

export interface RpcServerOptions {
  readonly directory: Directory;
  readonly log: Log;
  readonly metrics?: Pick<Metrics, 'call'>;
  readonly grpc: {
    /** localhost means 127.0.0.1 and ::1. Port 0 picks a free port. */
    readonly address: Address;
    readonly concurrentStreamsMax: number;
    readonly connectionAgeMsMax: number;
    readonly connectionAgeGraceMs: number;
    readonly keepaliveTimeMs: number;
    readonly keepaliveTimeoutMs: number;
  };
  /** The time that a watcher may pause reading while changes are queued for it. */
  readonly stallTimeoutMs: number;
  /** PEM. With clientCa, every client must present a certificate. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer; readonly clientCa?: Buffer };
  /** The FileDescriptorSet for reflection. */
  readonly descriptors: Uint8Array;
}

interface CloseOptions {
  readonly delayMs: number;
  readonly timeoutMs: number;
  onDelayed?(): Promise<void>;
}

export interface RpcServer {
  readonly port: number;
  /** As in `127.0.0.1:50051`. */
  readonly addresses: readonly string[];
  /**
   * Opens a connection from within this process, for the gateway, without TLS or an age limit. Its calls are logged
   * with the address in their metadata's `x-forwarded-for`. Throws a Fault after close() has begun.
   */
  connect(): Socket;
  /** Sets the health of all services, which is initially true. Has no effect after close() has begun. */
  setServing(serving: boolean): void;
  /**
   * Sets health to NOT_SERVING, waits `delayMs`, awaits `onDelayed` and accepts no more calls. Then it ends streams of
   * responses with UNAVAILABLE (SERVER_STOPPING), and lets other calls finish for up to `timeoutMs` before it ends
   * them.
   */
  close(options: CloseOptions): Promise<void>;
  /** Ends everything at once. */
  kill(): void;
}

/** Throws ListenError if it cannot listen on every address. */
export async function startServer({
  directory,
  log,
  metrics,
  grpc,
  stallTimeoutMs,
  tls,
  descriptors,
}: RpcServerOptions): Promise<RpcServer> {
  // grpc-js would write to stderr.
  const logLine = (text: unknown): void => log.debug({ text: String(text) }, 'grpc-js');
  setLogger({ error: logLine, info: logLine, debug: logLine });

  const serviceNames = [UserServiceDefinition.fullName, ProfileServiceDefinition.fullName];
  const health = createHealth(serviceNames);
  let closing: Promise<void> | undefined;

  const stopping = new AbortController();
  const definitions = [
    userServiceDefinition,
    profileServiceDefinition,
    healthServiceDefinition,
    ...reflectionServiceDefinitions,
  ];
  const paths = new Set(definitions.flatMap((definition) => Object.values(definition).map(({ path }) => path)));
  const calls = createCallObserver(log, paths, metrics);
  const stalls = { paths: new Set([userServiceDefinition.watchUsers.path]), timeoutMs: stallTimeoutMs };
  const middleware = createFaultMiddleware(log, calls, { stopping: stopping.signal, stalls });
  const userService = createUserService(directory);
  const profileService = createProfileService(directory);
  const reflection = createReflectionService(descriptors, [
    ...serviceNames,
    healthServiceName,
    ...reflectionServiceNames,
  ]);

  const createRosterServer = (interceptor: ServerInterceptor, limits: Readonly<Record<string, number>>) => {
    const server = createServer({
      interceptors: [interceptor],
      'grpc.max_receive_message_length': messageBytesMax,
      'grpc.max_send_message_length': messageBytesMax,
      ...limits,
      'grpc.enable_channelz': 0,
      'grpc-node.max_session_memory': sessionMegabytesMax,
    }).use(middleware);
    server.add(userServiceDefinition, userService);
    server.add(profileServiceDefinition, profileService);
    server.add(healthServiceDefinition, health.service);
    for (const definition of reflectionServiceDefinitions) server.add(definition, reflection);
    return server;
  };

  const inner = await createInnerListener(() => createRosterServer(calls.forwardedInterceptor, {}));
  const limits = {
    'grpc.max_concurrent_streams': grpc.concurrentStreamsMax,
    'grpc.max_connection_age_ms': grpc.connectionAgeMsMax,
    'grpc.max_connection_age_grace_ms': grpc.connectionAgeGraceMs,
    'grpc.keepalive_time_ms': grpc.keepaliveTimeMs,
    'grpc.keepalive_timeout_ms': grpc.keepaliveTimeoutMs,
  };
  const outer = await listen(() => createRosterServer(calls.interceptor, limits), grpc.address, credentialsOf(tls));
  const listeners = [...outer, inner.listener];
  for (const { http2Server } of listeners) http2Server?.on('stream', calls.streamOpened);
  const killed = new AbortController();

  return {
    port: outer[0]?.port ?? 0,
    addresses: outer.map(({ address }) => address),
    connect() {
      if (stopping.signal.aborted) throw serverStopping();
      return inner.connect();
    },
    setServing(serving) {
      if (closing === undefined) health.setServing(serving);
    },
    close(options) {
      closing ??= closeServer({ health, calls, listeners, stopping, killed: killed.signal }, options);
      return closing;
    },
    kill() {
      closing ??= Promise.resolve();
      killed.abort();
      stopping.abort();
      calls.endAll();
      destroy(listeners);
    },
  };
}

interface ServerParts {
  readonly health: Health;
  readonly calls: CallObserver;
  readonly listeners: readonly Listener[];
  /** Ends streams of responses. */
  readonly stopping: AbortController;
  readonly killed: AbortSignal;
}

async function closeServer(
  { health, calls, listeners, stopping, killed }: ServerParts,
  { delayMs, timeoutMs, onDelayed }: CloseOptions,
): Promise<void> {
  health.setServing(false);
  await sleep(delayMs, undefined, { signal: killed }).catch(() => {});
  await onDelayed?.();
  for (const listener of listeners) listener.stopAccepting();
  stopping.abort();
  const drained = Promise.all(listeners.map(allConnectionsClosed));
  await settlesWithin(drained, drainTimeoutMs, killed).catch(() => {});
  const finished = Promise.all(listeners.map(({ server }) => server.shutdown()));
  // A connection without a single byte, such as a prober's, has no HTTP/2 session that shutdown() could close.
  for (const { sockets } of listeners) {
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  }
  await settlesWithin(finished, timeoutMs, killed).catch(() => {});
  calls.endAll();
  await settlesWithin(finished, flushTimeoutMs);
  destroy(listeners);
}

/** grpc-js's forceShutdown closes connections only if channelz is on. */
function destroy(listeners: readonly Listener[]): void {
  for (const { server, sockets } of listeners) {
    server.forceShutdown();
    for (const socket of sockets) socket.destroy();
  }
}

/** Resolves after all current connections have closed. */
async function allConnectionsClosed({ sockets }: Listener): Promise<void> {
  await Promise.all([...sockets].map((socket) => once(socket, 'close')));
}

function credentialsOf(tls: RpcServerOptions['tls']): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const { cert, key, clientCa } = tls;
  return ServerCredentials.createSsl(
    clientCa ?? null,
    [{ cert_chain: cert, private_key: key }],
    clientCa !== undefined,
  );
}
