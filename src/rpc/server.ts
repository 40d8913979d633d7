/**
 * The gRPC server: its services, health, reflection and shutdown.
 *
 * It does not know the database. The application sets whether it is serving.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ProfileServiceDefinition } from '../../generated/profileservice/profile.js';
import { UserServiceDefinition } from '../../generated/users/v1/user_service.js';
import { settlesWithin } from '../concurrency/abort.js';
import type { ByteBudget } from '../grpc-server/byte-budget.js';
import type { Http2Implementation } from '../grpc-server/listener.js';
import type { CallInfo } from '../grpc-server/observer.js';
import { createServer, type GrpcServer, type ServerOptions } from '../grpc-server/server.js';
import type { ServerTls } from '../grpc-server/server-tls.js';
import type { Connection, HeaderFields } from '../grpc-server/stream.js';
import { Fault, serverStopping, servesOnlyReads } from '../model/fault.js';
import { requestBytesMax } from '../model/method-limits.js';
import { messageBytesMax } from '../model/user.js';
import { type Address, formatAddress } from '../net/address.js';
import { listenError, listenOnHost } from '../net/listen.js';
import type { Directory } from '../operations/directory.js';
import { anyone } from '../policy/method-roles.js';
import type { AuditLog } from '../telemetry/audit-log.js';
import type { Log } from '../telemetry/log.js';
import { type Metrics, otherMethod } from '../telemetry/metrics.js';
import type { Tracing } from '../telemetry/tracing.js';
import { eventsOfMethods } from './call-audit.js';
import { createCallObserver, createOverload } from './call-observer.js';
import { type CallerAccess, callerOfCall, createCallerGate } from './caller-gate.js';
import { type CallerLimits, createCallerLimiter } from './caller-limits.js';
import { withCallerRules } from './caller-rules.js';
import {
  createHealth,
  type Health,
  healthServiceDefinition,
  healthServiceName,
  type ServiceNeeds,
  type Serving,
} from './health-service.js';
import { createProfileService, profileServiceDefinition } from './profile-service.js';
import { createReflectionService, reflectionServiceDefinitions, reflectionServiceNames } from './reflection-service.js';
import { createUserService, userServiceDefinition } from './user-service.js';

// The time for calls that clients sent before they received GOAWAY to arrive.
const drainTimeoutMs = 100;
// The time to send the statuses of calls that the shutdown ended.
const flushTimeoutMs = 250;
// How often the server looks for streams whose credential is not valid any more.
const credentialsCheckMs = 1000;

/** The endpoints of OPEN_ENDPOINTS that are services of gRPC. */
const endpointServices = { '/grpc.health.': 'health', '/grpc.reflection.': 'reflection' } as const;

// `writes` is for clients and balancers that need a server which accepts writes. List names it, too.
const serviceNeeds: ServiceNeeds = {
  '': 'reads',
  writes: 'writes',
  [UserServiceDefinition.fullName]: 'reads',
  [ProfileServiceDefinition.fullName]: 'writes',
};

export interface RpcServerOptions {
  readonly directory: Directory;
  readonly log: Log;
  readonly metrics?: Pick<Metrics, 'call' | 'limited' | 'observe'>;
  readonly tracing?: Tracing;
  readonly audit?: AuditLog;
  readonly grpc: {
    /** localhost means 127.0.0.1 and ::1. Port 0 picks a free port. */
    readonly address: Address;
    readonly http2?: Http2Implementation;
    readonly concurrentStreamsMax: number;
    readonly connectionAgeMsMax: number;
    readonly connectionAgeGraceMs: number;
    readonly keepaliveTimeMs: number;
    readonly keepaliveTimeoutMs: number;
  };
  /** The time that a client may pause in the middle of a message, or while responses are queued for it. */
  readonly stallTimeoutMs: number;
  /** Limits the bytes that the process holds for clients. */
  readonly budget?: ByteBudget;
  readonly tls?: ServerTls;
  /** Undefined if the server is open to everyone. */
  readonly access?: CallerAccess;
  /** Limits what each caller may use. */
  readonly callerLimits?: CallerLimits;
  /** The endpoints that need no credentials. Without it, all need them. */
  readonly openEndpoints?: readonly string[];
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
  /** Starts a call within this process, for the gateway. */
  readonly callInProcess: GrpcServer['call'];
  /** Whether a call with these fields on this connection has credentials that are accepted. */
  knowsCaller(fields: HeaderFields, connection: Connection): boolean | Promise<boolean>;
  /** Uses another certificate for new connections. */
  setTls(tls: NonNullable<RpcServerOptions['tls']>): void;
  /**
   * Sets the health of all services, which is initially `all`. With `reads`, writes fail at once. Has no effect after
   * close() has begun.
   */
  setServing(serving: Serving): void;
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
export async function startServer(options: RpcServerOptions): Promise<RpcServer> {
  const { grpc, tls } = options;
  const serviceNames = [UserServiceDefinition.fullName, ProfileServiceDefinition.fullName];
  const health = createHealth(serviceNeeds);
  const stopping = new AbortController();
  let serving: Serving = 'all';
  const refusalOf = (path: string) => (serving === 'reads' && isWrite(path) ? servesOnlyReads() : undefined);
  const server = createServer(serverOptions(options, { stopping: stopping.signal, refusalOf }));
  addServices(server, options, health, serviceNames);
  options.metrics?.observe({ callsInFlight: () => callsInFlight(server) });
  const credentials = options.access && watchCredentials(server, options.access);
  const listeners = await listenOnHost(
    grpc.address,
    async (address) => {
      try {
        const port = await server.listen(formatAddress(address), tls);
        return { port, address: formatAddress({ host: address.host, port }) };
      } catch (error) {
        throw listenError('GRPC_ADDRESS', address, error);
      }
    },
    () => server.forceShutdown(),
  );
  const killed = new AbortController();
  let closing: Promise<void> | undefined;

  return {
    port: listeners[0]?.port ?? 0,
    addresses: listeners.map(({ address }) => address),
    callInProcess: server.call,
    knowsCaller(fields, connection) {
      const found = options.access?.identify({ fields, connection, peer: connection.peer });
      return found instanceof Promise ? found.then((late) => !(late instanceof Fault)) : !(found instanceof Fault);
    },
    setTls: server.setTls,
    setServing(now) {
      if (closing !== undefined) return;
      serving = now;
      health.setServing(now);
    },
    close(closeOptions) {
      closing ??= closeServer({ health, server, stopping, killed: killed.signal }, closeOptions).finally(() =>
        clearInterval(credentials),
      );
      return closing;
    },
    kill() {
      closing ??= Promise.resolve();
      clearInterval(credentials);
      killed.abort();
      stopping.abort();
      server.endCalls(serverStopping);
      server.forceShutdown();
    },
  };
}

function isWrite(path: string): boolean {
  return ['write', 'import'].includes(eventsOfMethods[path] ?? '');
}

function serverOptions(
  options: RpcServerOptions,
  { stopping, refusalOf }: { stopping: AbortSignal; refusalOf(path: string): Fault | undefined },
): ServerOptions {
  const {
    log,
    metrics,
    tracing,
    audit,
    grpc,
    stallTimeoutMs,
    budget,
    access,
    callerLimits,
    openEndpoints = [],
  } = options;
  const openServices = Object.entries(endpointServices).flatMap(([service, endpoint]) =>
    openEndpoints.includes(endpoint) ? service : [],
  );
  const isOpen = (path: string) => openServices.some((service) => path.startsWith(service));
  const limiter = callerLimits && createCallerLimiter({ limits: callerLimits, log, metrics });
  const gate = createCallerGate({ access, isOpen, limiter, refusalOf });
  return {
    requestBytesMax: (path) => requestBytesMax[path] ?? 0,
    responseBytesMax: messageBytesMax,
    budget,
    stallTimeoutMs,
    http2: grpc.http2,
    overload: createOverload({ log, metrics }),
    connections: {
      concurrentCallsMax: grpc.concurrentStreamsMax,
      ageMsMax: grpc.connectionAgeMsMax,
      ageGraceMs: grpc.connectionAgeGraceMs,
      keepaliveMs: grpc.keepaliveTimeMs,
      keepaliveTimeoutMs: grpc.keepaliveTimeoutMs,
    },
    observe: createCallObserver({ log, metrics, tracing, audit }),
    admit: (call) => (call.responseStream && stopping.aborted ? serverStopping() : gate(call)),
  };
}

/** Ends the streams whose caller's credential is not valid any more, or whose rights have changed. */
function watchCredentials(server: GrpcServer, access: CallerAccess): NodeJS.Timeout {
  const errorOf = (call: CallInfo) => {
    const caller = call.isStream ? callerOfCall(call) : undefined;
    return caller === undefined || caller === anyone ? undefined : access.endOf(caller);
  };
  return setInterval(() => server.endCalls(errorOf), credentialsCheckMs).unref();
}

function callsInFlight(server: GrpcServer): Record<string, number> {
  return Object.fromEntries([...server.countOpenCalls()].map(([path, calls]) => [path.slice(1) || otherMethod, calls]));
}

function addServices(
  server: GrpcServer,
  { directory, descriptors }: RpcServerOptions,
  health: Health,
  serviceNames: readonly string[],
): void {
  server.add(userServiceDefinition, withCallerRules(userServiceDefinition, directory, createUserService));
  server.add(profileServiceDefinition, withCallerRules(profileServiceDefinition, directory, createProfileService));
  server.add(healthServiceDefinition, health.service);
  const names = [...serviceNames, healthServiceName, ...reflectionServiceNames];
  const reflection = createReflectionService(descriptors, names);
  for (const definition of reflectionServiceDefinitions) server.add(definition, reflection);
}

interface ServerParts {
  readonly health: Health;
  readonly server: GrpcServer;
  /** Refuses streams of responses, which could otherwise delay the shutdown indefinitely. */
  readonly stopping: AbortController;
  readonly killed: AbortSignal;
}

async function closeServer(
  { health, server, stopping, killed }: ServerParts,
  { delayMs, timeoutMs, onDelayed }: CloseOptions,
): Promise<void> {
  health.setServing('nothing');
  await sleep(delayMs, undefined, { signal: killed }).catch(() => {});
  await onDelayed?.();
  const disconnected = server.stopAccepting();
  stopping.abort();
  server.endCalls(({ responseStream }) => (responseStream ? serverStopping() : undefined));
  await settlesWithin(disconnected, drainTimeoutMs, killed).catch(() => {});
  const finished = server.shutdown();
  await settlesWithin(finished, timeoutMs, killed).catch(() => {});
  server.endCalls(serverStopping);
  await settlesWithin(finished, flushTimeoutMs);
  server.forceShutdown();
}
