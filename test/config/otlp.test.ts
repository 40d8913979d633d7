import { describe, expect, it } from 'vitest';
import { parseServerConfig } from '../../src/config/parse.js';

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318' };

describe('the export over OTLP', () => {
  it('is off without an endpoint, if it is disabled, and for formats that are not supported', () => {
    const otlpOf = (env: Record<string, string>) => parseServerConfig(env).otlp;
    const signalsOf = (env: Record<string, string>) => Object.keys(JSON.parse(JSON.stringify(otlpOf(env) ?? {})));
    expect(otlpOf({})).toBeUndefined();
    expect(otlpOf({ OTEL_SERVICE_NAME: 'roster' })).toBeUndefined();
    expect(otlpOf({ ...endpoint, OTEL_SDK_DISABLED: 'true' })).toBeUndefined();
    const sampler = { root: 'always_on', isParentBased: true, ratio: 1 };
    expect(otlpOf(endpoint)).toEqual({
      traces: { format: 'http/protobuf', sampler, queue: {} },
      metrics: { format: 'http/protobuf', intervalMs: 60_000 },
    });
    expect(signalsOf({ ...endpoint, OTEL_METRICS_EXPORTER: 'none' })).toEqual(['traces']);
    expect(signalsOf({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://localhost:4318/v1/traces' })).toEqual(['traces']);
    expect(signalsOf({ ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })).toEqual([]);
  });

  it('reads the format of each signal', () => {
    const env = { ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json' };
    const { otlp, warnings } = parseServerConfig(env);
    expect(otlp).toMatchObject({ traces: { format: 'http/json' }, metrics: undefined });
    expect(warnings).toEqual([
      'OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or http/json (port 4318 of a collector), so no metrics are exported.',
    ]);
  });

  it.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'user:secret@collector:4318'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'http://user:secret@[collector'],
    ['OTEL_TRACES_EXPORTER', 'secret'],
    ['OTEL_TRACES_SAMPLER', 'secret'],
    ['OTEL_TRACES_SAMPLER_ARG', '1.5'],
    ['OTEL_BSP_MAX_EXPORT_BATCH_SIZE', '0'],
    ['OTEL_METRIC_EXPORT_INTERVAL', '3000000000'],
  ])('warns if %s is %s, without the value', (name, value) => {
    const { warnings } = parseServerConfig({ ...endpoint, [name]: value });
    expect(warnings[0]).toContain(`${name} must be `);
    expect(warnings.join()).not.toMatch(/secret/);
  });
});
