/** Logs and counts calls that the gateway answers itself, as the server behind it does with the calls that it answers. */
import type { CallLine, Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';

export function callRecorder(log: Log, metrics: Pick<Metrics, 'call'>): (line: CallLine) => void {
  return (line) => {
    metrics.call(line.method, line.status, line.durationMs);
    // Probes come every few seconds, from several sides.
    log.call(line, line.method.startsWith('grpc.') ? 'debug' : undefined);
  };
}
