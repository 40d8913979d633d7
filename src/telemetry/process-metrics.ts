/**
 * The metrics of the process, with prom-client's default names, so that existing dashboards work. prom-client's own
 * collectDefaultMetrics() also observes each garbage collection, and adds a hundred lines that are not needed.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Gauge, type Registry } from 'prom-client';
import { packageVersion } from '../config/package-root.js';
import { addCounter, addGauge } from './source-metrics.js';

// The interval of the timer that measures the event loop's delay. Each wake-up of an idle process costs about 90 µs, so
// the 10 ms default of Node and prom-client would cost 1% of a core.
const delayIntervalMs = 50;

export function addProcessMetrics(registry: Registry): void {
  new Gauge({
    name: 'roster_build_info',
    help: 'Always 1. The labels are the versions of Roster and of Node.',
    labelNames: ['version', 'node_version'],
    aggregator: 'max',
    registers: [registry],
  }).set({ version: packageVersion(), node_version: process.versions.node }, 1);
  addCounter(registry, {
    name: 'process_cpu_seconds_total',
    help: 'CPU time in user and system mode.',
    read() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    },
  });
  addGauge(registry, {
    name: 'process_start_time_seconds',
    help: 'Start time in seconds since 1970; the earliest of all processes.',
    aggregator: 'min',
    read: () => performance.timeOrigin / 1000,
  });
  const memory = (name: string, help: string, field: keyof NodeJS.MemoryUsage) =>
    addGauge(registry, { name, help, read: () => process.memoryUsage()[field] });
  memory('process_resident_memory_bytes', 'Resident memory.', 'rss');
  memory('nodejs_heap_size_total_bytes', 'Size of the JavaScript heap.', 'heapTotal');
  memory('nodejs_heap_size_used_bytes', 'Used part of the JavaScript heap.', 'heapUsed');
  memory('nodejs_external_memory_bytes', 'Memory outside the JavaScript heap, such as buffers.', 'external');
  addEventLoopMetrics(registry);
}

function addEventLoopMetrics(registry: Registry): void {
  const delay = monitorEventLoopDelay({ resolution: delayIntervalMs });
  delay.enable();
  const lag = (name: string, read: () => number) =>
    addGauge(registry, {
      name,
      help: 'Delay of the event loop since the last scrape; the maximum of all processes.',
      aggregator: 'max',
      read: () => Math.max(0, read() / 1e9 - delayIntervalMs / 1000),
    });
  lag('nodejs_eventloop_lag_p50_seconds', () => delay.percentile(50));
  lag('nodejs_eventloop_lag_p99_seconds', () => delay.percentile(99));
  // Must be the last of the three, because it resets the histogram.
  lag('nodejs_eventloop_lag_max_seconds', () => {
    const { max } = delay;
    delay.reset();
    return max;
  });
}
