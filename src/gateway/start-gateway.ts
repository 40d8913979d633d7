/** Starts and stops a standalone gateway in front of any gRPC server. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GatewayConfig } from '../config/parse.js';
import { readTls } from '../config/tls.js';
import { createByteBudget } from '../grpc-server/byte-budget.js';
import { formatAddress } from '../net/address.js';
import { keepHealthFile } from '../telemetry/health-file.js';
import type { LogDestination } from '../telemetry/line-writer.js';
import { createLog, type Log } from '../telemetry/log.js';
import { createMetrics, type Metrics, metricsContentType, metricsText } from '../telemetry/metrics.js';
import { startOtlp } from '../telemetry/start-otlp.js';
import type { Tracing } from '../telemetry/tracing.js';
import { callRecorder } from './call-recorder.js';
import { createGateway, type Gateway } from './gateway.js';
import { startHttp } from './http.js';
import { descriptorsPath, loadOwnFiles } from './own-files.js';
import { reloadTls } from './reload-tls.js';
import { noFiles } from './web-files.js';

export interface RunningGateway {
  readonly log: Log;
  readonly http: { readonly host: string; readonly port: number };
  /** Reports for SHUTDOWN_DELAY_MS that it is not ready, then refuses new connections and ends the remaining calls. */
  close(): Promise<void>;
}

/** Why the descriptors cannot be used. */
export class DescriptorsError extends Error {
  override readonly name = 'DescriptorsError';
}

// The service that the page uses.
const rosterService = 'users.v1.UserService';

/** Resolves when it listens, even if it cannot reach the target. Throws ListenError and DescriptorsError. */
export async function startGateway(
  config: GatewayConfig,
  { logTo, tlsReloadMs }: { readonly logTo?: LogDestination; readonly tlsReloadMs?: number } = {},
): Promise<RunningGateway> {
  const log = createLog({ ...config.log, destination: logTo });
  for (const warning of config.warnings) log.warn({}, warning);
  const metrics = createMetrics();
  const otlp = await startOtlp(config.otlp, { log, metrics });
  const gateway = await openGateway(config, log, metrics, otlp.tracing);
  let isClosing = false;
  const serving = async () => (!isClosing && (await gateway.isReachable()) ? 'all' : 'nothing');
  const tls = config.tls && (await readTls(config.tls));
  const http = await startHttp({
    address: config.http.address,
    corsOrigins: config.http.corsOrigins,
    openEndpoints: config.openEndpoints,
    tls,
    metrics: { contentType: metricsContentType, text: async () => metricsText([await metrics.snapshot()]) },
    serving,
    onError: (error) => log.error({ error }, 'HTTP has failed'),
  });
  const stopReload =
    config.tls && tls && reloadTls(config.tls, tls, { log, metrics, servers: () => [http], intervalMs: tlsReloadMs });
  // The target knows whether calls need credentials. The page asks for them when a call fails.
  const page = { files: await loadOwnFiles(), signIn: () => ({ isRequired: false }) };
  http.serve({ gateway, ...(gateway.serviceNames.has(rosterService) ? page : { files: noFiles }) });
  const removeHealthFile = keepHealthFile(config.healthFile, async () => (await serving()) === 'all', log);
  return {
    log,
    http: { host: config.http.address.host, port: http.port },
    async close() {
      isClosing = true;
      stopReload?.();
      log.info({}, 'stopping');
      await sleep(config.shutdown.delayMs);
      await http.stopAccepting();
      gateway.close();
      await removeHealthFile();
      await http.close();
      await otlp.close();
      log.info({}, 'stopped');
    },
  };
}

async function openGateway(
  config: GatewayConfig,
  log: Log,
  metrics: Metrics,
  tracing: Tracing | undefined,
): Promise<Gateway> {
  const { target, targetTls, stallTimeoutMs, bufferedBytesMax } = config;
  const path = config.descriptors ?? descriptorsPath();
  const read = (file: string | undefined) => (file === undefined ? undefined : readFile(file));
  const budget = createByteBudget(bufferedBytesMax);
  metrics.observe({ heldBytes: budget.held });
  try {
    return createGateway({
      descriptors: await readFile(path),
      url: `${targetTls === undefined ? 'http' : 'https'}://${formatAddress(target)}`,
      session: targetTls && {
        ca: await read(targetTls.ca),
        cert: await read(targetTls.cert),
        key: await read(targetTls.key),
      },
      stallTimeoutMs,
      budget,
      onUnforwarded: callRecorder(log, metrics),
      tracing,
      onError: (error) => log.error({ error }, 'the gateway has failed'),
    });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const message = `The descriptors cannot be used: ${why}. Create them with \`buf build -o FILE\`.`;
    throw new DescriptorsError(message, { cause: error });
  }
}
