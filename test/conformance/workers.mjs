/** Servers under test with several workers, which share ports in the same way as Roster's workers. */
import cluster from 'node:cluster';
import { once } from 'node:events';

/**
 * Calls `serve` with what `readConfig` returns, and `report` with what `serve` returns. With a number of workers above 0,
 * each worker calls `serve`. The workers run the same program, so it must call this function again there.
 */
export async function runServer({ workers, readConfig, serve, report }) {
  if (cluster.isWorker) {
    const [config] = await once(process, 'message');
    process.send(await serve(config));
    return;
  }
  const config = await readConfig();
  if (workers === 0) {
    report(await serve(config));
    return;
  }
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({ serialization: 'advanced' });
  const started = Array.from({ length: workers }, async () => {
    const worker = cluster.fork();
    worker.once('exit', (code, signal) => {
      console.error(`A worker has exited (${signal ?? code}).`);
      process.exit(1);
    });
    worker.send(config);
    const [served] = await once(worker, 'message');
    return served;
  });
  const [served] = await Promise.all(started);
  report(served);
}
