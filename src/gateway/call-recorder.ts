/** Logs and counts the calls that the gateway does not forward. The gRPC server logs and counts the others. */
import type { CallLine, Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';

export function callRecorder(log: Log, metrics: Pick<Metrics, 'call'>): (line: CallLine) => void {
  return (line) => {
    metrics.call(line.method, line.status, line.durationMs);
    // Health checks arrive every few seconds.
    log.call(line, line.method.startsWith('grpc.') ? 'debug' : undefined);
  };
}
