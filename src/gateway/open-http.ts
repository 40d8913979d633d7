/** Opens the HTTP port of a service, whose default address may be in use. */
import type { ServerConfig } from '../config/parse.js';
import { readTls } from '../config/tls.js';
import { type Address, formatAddress } from '../net/address.js';
import { ListenError } from '../net/listen.js';
import type { Serving } from '../rpc/health-service.js';
import type { Log } from '../telemetry/log.js';
import { metricsContentType } from '../telemetry/metrics.js';
import { type HttpServer, startHttp } from './http.js';
import { allEndpoints, type ServedParts } from './router.js';

/**
 * Starts HTTP. startApp() and startWorkers() do this first, so that probes get a response during the start. Returns
 * undefined if the default address is in use, so that a second Roster on a machine needs only its own port for gRPC.
 */
export async function openHttp(
  { http, tls, auth }: ServerConfig,
  log: Log,
  { text, serving, parts }: { text(): Promise<string>; serving(): Serving; parts?: ServedParts },
): Promise<HttpServer | undefined> {
  if (http === undefined) return undefined;
  const { address, isDefault, corsOrigins } = http;
  try {
    return await startHttp({
      address,
      tls: tls && (await readTls(tls)),
      corsOrigins,
      openEndpoints: auth.isRequired ? auth.openEndpoints : allEndpoints,
      metrics: { contentType: metricsContentType, text },
      serving,
      parts,
      onError: (error) => log.error({ error }, 'HTTP has failed'),
    });
  } catch (error) {
    if (!isDefault || !(error instanceof ListenError)) throw error;
    const message =
      'the page, metrics and probes are not served over HTTP, because the default address is in use; set HTTP_ADDRESS (port 0 picks a free port)';
    log.warn({ address: formatAddress(address) }, message);
    return undefined;
  }
}

/** Where HTTP listens: the configured host and the port that was chosen. */
export function httpAddressOf({ http: wanted }: ServerConfig, http: HttpServer | undefined): Address | undefined {
  return wanted && http && { host: wanted.address.host, port: http.port };
}
