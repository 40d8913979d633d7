/**
 * Converts the metrics for Prometheus to OpenTelemetry's, so that there is one set of metrics. The names stay, except
 * that those of OpenTelemetry's conventions get their dots back: a collector that writes to Prometheus makes the same
 * names again.
 */
import { type Attributes, type HrTime, ValueType } from '@opentelemetry/api';
import { millisToHrTime } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import { packageVersion } from '../config/package-root.js';
import type { MetricsSnapshot } from './metrics.js';

interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

const conventionalNames: Readonly<Record<string, { readonly name: string; readonly unit: string }>> = {
  rpc_server_call_duration_seconds: { name: 'rpc.server.call.duration', unit: 's' },
};

const conventionalLabels: Readonly<Record<string, string>> = {
  rpc_system_name: 'rpc.system.name',
  rpc_method: 'rpc.method',
  rpc_response_status_code: 'rpc.response.status_code',
  error_type: 'error.type',
};

export function metricsData(resource: Resource, snapshot: MetricsSnapshot): ResourceMetrics {
  const times = { startTime: millisToHrTime(performance.timeOrigin), endTime: millisToHrTime(Date.now()) };
  const metrics = snapshot.map((metric) => metricData(metric, times));
  const scope = { name: 'roster', version: packageVersion() };
  return { resource, scopeMetrics: [{ scope, metrics: metrics.filter(({ dataPoints }) => dataPoints.length > 0) }] };
}

interface Times {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

function metricData({ name, help, type, ...rest }: MetricsSnapshot[number], times: Times): MetricData {
  const descriptor = {
    unit: '',
    ...(conventionalNames[name] ?? { name }),
    description: help,
    valueType: ValueType.DOUBLE,
  };
  const common = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  const values: readonly Value[] = 'values' in rest ? (rest.values as Value[]) : [];
  // At run time, `type` is a string such as "counter", although prom-client declares a number.
  if (String(type) === 'histogram') {
    return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints: histogramPoints(name, values, times) };
  }
  const dataPoints = values.map(({ value, labels }) => ({ ...times, attributes: attributesOf(labels), value }));
  if (String(type) === 'counter') return { ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
  return { ...common, dataPointType: DataPointType.GAUGE, dataPoints };
}

function attributesOf(labels: Value['labels']): Attributes {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [conventionalLabels[name] ?? name, value]));
}

/** Each series has the values of its buckets in ascending order, which are sums, and then its sum and its count. */
function histogramPoints(name: string, values: readonly Value[], times: Times): DataPoint<Histogram>[] {
  const series = new Map<string, { attributes: Attributes; boundaries: number[]; sums: number[]; sum: number }>();
  for (const { metricName, labels, value } of values) {
    const { le, ...others } = labels;
    const attributes = attributesOf(others);
    const key = JSON.stringify(Object.entries(attributes).toSorted());
    const point = series.get(key) ?? { attributes, boundaries: [], sums: [], sum: 0 };
    series.set(key, point);
    if (metricName === `${name}_sum`) point.sum = value;
    if (metricName !== `${name}_bucket`) continue;
    point.sums.push(value);
    if (le !== '+Inf') point.boundaries.push(Number(le));
  }
  return [...series.values()].map(({ attributes, boundaries, sums, sum }) => {
    const counts = sums.map((total, index) => total - (sums[index - 1] ?? 0));
    return { ...times, attributes, value: { buckets: { boundaries, counts }, sum, count: sums.at(-1) ?? 0 } };
  });
}
