/** Logs outages of the database. */
import { explain } from '../database/explain.js';
import type { Log } from '../telemetry/log.js';

/** Logs an outage when it begins, and again when it has another reason, such as a server that refuses connections. */
export function createOutageLog(log: Log, url: string): (error: unknown, isNew: boolean) => void {
  const reasons = new Set<string | undefined>();
  return (error, isNew) => {
    const help = explain(error, url)?.text;
    if (isNew) reasons.clear();
    else if (help === undefined || reasons.has(help)) return;
    reasons.add(help);
    log.error({ error, help }, 'cannot reach the database');
  };
}
