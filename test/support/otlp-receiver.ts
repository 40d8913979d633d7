/** An OpenTelemetry collector that receives traces and metrics over OTLP/HTTP, and keeps them. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface OtlpSpan {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly startMs: number;
  readonly endMs: number;
  /** 2 is an error. */
  readonly statusCode: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** The resource's. */
  readonly instanceId: unknown;
}

export interface OtlpPoint {
  readonly unit: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Of a counter or a gauge. */
  readonly value: number | undefined;
  /** Of a histogram. */
  readonly bucketCounts: readonly number[];
  readonly count: number | undefined;
  readonly instanceId: unknown;
}

export interface OtlpReceiver extends AsyncDisposable {
  readonly url: string;
  readonly requests: readonly { readonly path: string; readonly contentType: string; readonly body: Buffer }[];
  /** Those that were sent as JSON. */
  spans(): OtlpSpan[];
  /** The data points of a metric in all exports that were sent as JSON. */
  points(metric: string): OtlpPoint[];
}

/** The JSON format of OTLP: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding */
interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}
interface WithResource {
  readonly resource: { readonly attributes: readonly Attribute[] };
}
interface SpanJson extends Omit<OtlpSpan, 'attributes' | 'links' | 'parentSpanId'> {
  readonly parentSpanId?: string;
  readonly links?: OtlpSpan['links'];
  readonly attributes: readonly Attribute[];
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code?: number };
}
interface PointJson {
  readonly attributes: readonly Attribute[];
  readonly asDouble?: number;
  readonly asInt?: number;
  readonly count?: number;
  readonly bucketCounts?: readonly number[];
}
interface MetricJson extends Partial<Record<'sum' | 'gauge' | 'histogram', { readonly dataPoints: PointJson[] }>> {
  readonly name: string;
  readonly unit: string;
}
type TracesJson = {
  readonly resourceSpans: (WithResource & { readonly scopeSpans: { readonly spans: SpanJson[] }[] })[];
};
type MetricsJson = {
  readonly resourceMetrics: (WithResource & { readonly scopeMetrics: { readonly metrics: MetricJson[] }[] })[];
};

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const requests: OtlpReceiver['requests'][number][] = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    requests.push({ path: request.url ?? '', contentType: request.headers['content-type'] ?? '', body });
    response.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sent = <T>(path: string): T[] =>
    requests
      .filter((request) => request.path === path && request.contentType === 'application/json')
      .map(({ body }) => JSON.parse(body.toString()) as T);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    spans: () =>
      sent<TracesJson>('/v1/traces').flatMap(({ resourceSpans }) =>
        resourceSpans.flatMap(({ resource, scopeSpans }) =>
          scopeSpans.flatMap(({ spans }) => spans.map((span) => spanOf(span, instanceOf(resource.attributes)))),
        ),
      ),
    points: (metric) =>
      sent<MetricsJson>('/v1/metrics').flatMap(({ resourceMetrics }) =>
        resourceMetrics.flatMap(({ resource, scopeMetrics }) =>
          scopeMetrics
            .flatMap(({ metrics }) => metrics.filter(({ name }) => name === metric))
            .flatMap((json) => pointsOf(json, instanceOf(resource.attributes))),
        ),
      ),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function spanOf(json: SpanJson, instanceId: unknown): OtlpSpan {
  const ms = (nanoseconds: string) => Number(BigInt(nanoseconds) / 1000n) / 1000;
  return {
    ...json,
    parentSpanId: json.parentSpanId ?? '',
    links: json.links ?? [],
    startMs: ms(json.startTimeUnixNano),
    endMs: ms(json.endTimeUnixNano),
    statusCode: json.status.code ?? 0,
    attributes: attributesOf(json.attributes),
    instanceId,
  };
}

function pointsOf({ unit, sum, gauge, histogram }: MetricJson, instanceId: unknown): OtlpPoint[] {
  return ((sum ?? gauge ?? histogram)?.dataPoints ?? []).map(
    ({ attributes, asDouble, asInt, count, bucketCounts }) => ({
      unit,
      attributes: attributesOf(attributes),
      value: asDouble ?? asInt,
      bucketCounts: bucketCounts ?? [],
      count,
      instanceId,
    }),
  );
}

function attributesOf(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}

function instanceOf(attributes: readonly Attribute[]): unknown {
  return attributesOf(attributes)['service.instance.id'];
}
