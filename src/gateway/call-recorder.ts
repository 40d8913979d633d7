/** Logs and counts the calls that the gateway answers itself. The server behind it logs and counts all others. */
import type { CallLine, Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';

export function callRecorder(log: Log, metrics: Pick<Metrics, 'call'>): (line: CallLine) => void {
  return (line) => {
    metrics.call(line.method, line.status, line.durationMs);
    // Several probes come every few seconds.
    log.call(line, line.method.startsWith('grpc.') ? 'debug' : undefined);
  };
}
