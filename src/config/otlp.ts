/**
 * Reads which signals OpenTelemetry's environment variables ask for. The SDK reads the other variables itself, such as
 * endpoints, headers and limits: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
import type { Environment } from './parse.js';

export interface OtlpConfig {
  readonly traces: boolean;
  readonly metrics: boolean;
  readonly format: 'http/protobuf' | 'http/json';
}

const signals = ['traces', 'metrics'] as const;
const formats = ['http/protobuf', 'http/json'] as const;

/** Undefined if nothing is exported. Adds a warning for a value that is not supported, because telemetry is optional. */
export function readOtlp(env: Environment, warnings: string[]): OtlpConfig | undefined {
  const text = (name: string) => (env[name] ?? '').trim();
  if (text('OTEL_SDK_DISABLED').toLowerCase() === 'true') return undefined;

  const isExported = (signal: (typeof signals)[number]): boolean => {
    const upper = signal.toUpperCase();
    const endpoint = text(`OTEL_EXPORTER_OTLP_${upper}_ENDPOINT`) || text('OTEL_EXPORTER_OTLP_ENDPOINT');
    const exporter = text(`OTEL_${upper}_EXPORTER`) || 'otlp';
    if (exporter !== 'otlp' && exporter !== 'none') {
      warnings.push(`OTEL_${upper}_EXPORTER must be otlp or none, so no ${signal} are exported.`);
    }
    return endpoint !== '' && exporter === 'otlp';
  };
  const [traces = false, metrics = false] = signals.map(isExported);
  if (!traces && !metrics) return undefined;

  const protocol = text('OTEL_EXPORTER_OTLP_PROTOCOL') || 'http/protobuf';
  const format = formats.find((each) => each === protocol);
  if (format !== undefined) return { traces, metrics, format };
  warnings.push(
    'OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or http/json, so no traces and metrics are exported. ' +
      'Collectors receive both on port 4318.',
  );
  return undefined;
}
