/** Uses renewed certificates for new connections, and reports when the certificate expires. */
import { certificateExpiry, type readTls, type TlsFiles } from '../config/tls.js';
import { watchTls } from '../config/tls-reload.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';

type Tls = Awaited<ReturnType<typeof readTls>>;

interface TlsReload {
  readonly log: Log;
  readonly metrics: Metrics;
  /** The servers that use the certificate. */
  servers(): readonly ({ setTls(tls: Tls): void } | undefined)[];
  /** How often the files are read. */
  readonly intervalMs?: number;
}

/** `used` are the files' contents at the start. Returns a function that ends the reloads. */
export function reloadTls(files: TlsFiles, used: Tls, { log, metrics, servers, intervalMs }: TlsReload): () => void {
  let { cert } = used;
  metrics.observe({ certificateExpiry: () => certificateExpiry(cert) });
  return watchTls(files, used, {
    onChange(renewed) {
      for (const server of servers()) server?.setTls(renewed);
      ({ cert } = renewed);
      log.info({}, 'new connections use the new certificate');
    },
    onError: (error) => log.warn({ error }, 'the files of TLS have changed, but cannot be used'),
    intervalMs,
  });
}
