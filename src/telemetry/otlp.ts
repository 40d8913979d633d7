/**
 * Exports spans and metrics over OTLP with OpenTelemetry's SDK, which reads endpoints and headers from the environment.
 * If the collector does not answer, spans are dropped when the queue is full, and the log has a warning.
 */
import cluster from 'node:cluster';
import { randomUUID } from 'node:crypto';
import { type ExportResult, setGlobalErrorHandler } from '@opentelemetry/core';
import { type IOtlpExportDelegate, OTLPExporterError } from '@opentelemetry/otlp-exporter-base';
import { convertLegacyHttpOptions, createOtlpHttpExportDelegate } from '@opentelemetry/otlp-exporter-base/node-http';
import {
  JsonMetricsSerializer,
  JsonTraceSerializer,
  MetricsExporterMetricsHelper,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
  TraceExporterMetricsHelper,
} from '@opentelemetry/otlp-transformer';
import { detectResources, envDetector, type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { settlesWithin } from '../concurrency/abort.js';
import type { OtlpConfig, OtlpFormat, OtlpSampler } from '../config/otlp.js';
import { packageVersion } from '../config/package-root.js';
import { metricsData } from './otlp-metrics.js';
import { createTracing } from './otlp-spans.js';
import { flushTimeoutMs, type Otlp, type OtlpOptions } from './start-otlp.js';

// A collector that is down fails each export. One line a minute is enough then.
const warningEveryMs = 60_000;
// A batch of calls has at most this many (BATCH_ROWS_MAX), and its span has a link to each of them.
const linksMax = 4_096;

export function createOtlp(config: OtlpConfig, { log, metrics }: OtlpOptions): Otlp {
  let warnedMs = Number.NEGATIVE_INFINITY;
  const warn = (thrown: unknown) => {
    if (performance.now() - warnedMs < warningEveryMs) return;
    warnedMs = performance.now();
    // Its message is the collector's, which may repeat the request's headers.
    const isRefused = thrown instanceof OTLPExporterError && thrown.code !== undefined;
    const error = isRefused ? new Error(`The collector answered with the HTTP status ${thrown.code}.`) : thrown;
    log.warn({ error }, 'could not export to the OpenTelemetry collector');
  };
  // The SDK reports only errors of exports to it.
  setGlobalErrorHandler(warn);
  const resource = createResource();
  const provider = config.traces && createProvider(config.traces, resource);
  const metricsExport = config.metrics && startMetricsExport(config.metrics, resource, () => metrics.snapshot(), warn);
  return {
    tracing: provider && createTracing(provider.getTracer('roster', packageVersion())),
    async close() {
      const closed = Promise.all([provider?.shutdown(), metricsExport?.close()]).catch(warn);
      if (!(await settlesWithin(closed, flushTimeoutMs))) warn(new Error('The collector did not answer in time.'));
    },
  };
}

function createResource(): Resource {
  const chosen = detectResources({ detectors: [envDetector] });
  const { 'service.instance.id': id = randomUUID() } = chosen.attributes;
  // Workers have the same environment, but their metrics must not have the same identity.
  const suffix = cluster.worker === undefined ? '' : `-${cluster.worker.id}`;
  return resourceFromAttributes({ 'service.name': 'roster', 'service.version': packageVersion() })
    .merge(chosen)
    .merge(resourceFromAttributes({ 'service.instance.id': `${id}${suffix}` }));
}

function createProvider(
  { format, sampler, queue }: NonNullable<OtlpConfig['traces']>,
  resource: Resource,
): TracerProvider {
  const options = convertLegacyHttpOptions({}, 'TRACES', 'v1/traces', contentType(format));
  const serializer = format === 'http/json' ? JsonTraceSerializer : ProtobufTraceSerializer;
  const delegate: IOtlpExportDelegate<ReadableSpan[]> = createOtlpHttpExportDelegate(
    options,
    serializer,
    'otlp_http_span_exporter',
    TraceExporterMetricsHelper,
    undefined,
  );
  const processor = new BatchSpanProcessor({
    exporter: {
      export: (spans, done) => delegate.export(spans, done),
      shutdown: () => delegate.shutdown(),
      forceFlush: () => delegate.forceFlush(),
    },
    ...queue,
  });
  return new TracerProvider({
    resource,
    sampler: createSampler(sampler),
    spanLimits: { linkCountLimit: linksMax },
    spanProcessors: [processor],
  });
}

function contentType(format: OtlpFormat): Record<string, string> {
  return { 'content-type': format === 'http/json' ? 'application/json' : 'application/x-protobuf' };
}

function createSampler({ root, isParentBased, ratio }: OtlpSampler): Sampler {
  const samplers = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
  };
  const sampler = samplers[root]();
  return isParentBased ? new ParentBasedSampler({ root: sampler }) : sampler;
}

function startMetricsExport(
  { format, intervalMs }: NonNullable<OtlpConfig['metrics']>,
  resource: Resource,
  read: () => ReturnType<OtlpOptions['metrics']['snapshot']>,
  warn: (error: unknown) => void,
): { close(): Promise<void> } {
  const options = convertLegacyHttpOptions({}, 'METRICS', 'v1/metrics', contentType(format));
  const serializer = format === 'http/json' ? JsonMetricsSerializer : ProtobufMetricsSerializer;
  const delegate: IOtlpExportDelegate<ResourceMetrics> = createOtlpHttpExportDelegate(
    options,
    serializer,
    'otlp_http_metric_exporter',
    MetricsExporterMetricsHelper,
    undefined,
  );
  async function send(): Promise<void> {
    const data = metricsData(resource, await read());
    const { error } = await new Promise<ExportResult>((resolve) => delegate.export(data, resolve));
    if (error !== undefined) warn(error);
  }
  const timer = setInterval(() => void send().catch(warn), intervalMs);
  timer.unref();
  return {
    async close() {
      clearInterval(timer);
      await send();
      await delegate.shutdown();
    },
  };
}
