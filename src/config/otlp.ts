/**
 * Reads what OpenTelemetry's environment variables ask for. The SDK reads the other variables of the exporters and the
 * resource itself, such as headers: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
import type { Environment } from './parse.js';

const formats = ['http/protobuf', 'http/json'] as const;
const rootSamplers = ['always_on', 'always_off', 'traceidratio'] as const;

export type OtlpFormat = (typeof formats)[number];

/** Without traces or metrics, these are not exported. */
export interface OtlpConfig {
  readonly traces?: {
    readonly format: OtlpFormat;
    readonly sampler: OtlpSampler;
    /** The limits of the queue of spans. If one is not set, the SDK's default applies. */
    readonly queue: {
      readonly maxQueueSize?: number;
      readonly maxExportBatchSize?: number;
      readonly scheduledDelayMillis?: number;
      readonly exportTimeoutMillis?: number;
    };
  };
  readonly metrics?: { readonly format: OtlpFormat; readonly intervalMs: number };
}

export interface OtlpSampler {
  readonly root: (typeof rootSamplers)[number];
  /** Whether the client's decision counts, if it sent one. */
  readonly isParentBased: boolean;
  readonly ratio: number;
}

/** Undefined if nothing is exported. Adds a warning for a value that is not supported, because telemetry is optional. */
export function readOtlp(env: Environment, warnings: string[]): OtlpConfig | undefined {
  if (textOf(env, 'OTEL_SDK_DISABLED').toLowerCase() === 'true') return undefined;
  const traces = formatOf('traces', env, warnings);
  const metrics = formatOf('metrics', env, warnings);
  if (traces === undefined && metrics === undefined) return undefined;
  const count = (name: string) => numberOf(name, env, warnings, { min: 1, max: 2 ** 31 - 1 });
  return {
    traces: traces && {
      format: traces,
      sampler: samplerOf(env, warnings),
      queue: {
        maxQueueSize: count('OTEL_BSP_MAX_QUEUE_SIZE'),
        maxExportBatchSize: count('OTEL_BSP_MAX_EXPORT_BATCH_SIZE'),
        scheduledDelayMillis: count('OTEL_BSP_SCHEDULE_DELAY'),
        exportTimeoutMillis: count('OTEL_BSP_EXPORT_TIMEOUT'),
      },
    },
    metrics: metrics && { format: metrics, intervalMs: count('OTEL_METRIC_EXPORT_INTERVAL') ?? 60_000 },
  };
}

function textOf(env: Environment, name: string): string {
  return (env[name] ?? '').trim();
}

/** The format of a signal, or undefined if it is not exported. */
function formatOf(signal: 'traces' | 'metrics', env: Environment, warnings: string[]): OtlpFormat | undefined {
  const upper = signal.toUpperCase();
  const refuse = (rule: string) => {
    warnings.push(`${rule}, so no ${signal} are exported.`);
    return undefined;
  };
  // The variable of the signal, or that of all signals. Its value may contain a password.
  const variable = (name: string) => {
    const own = `OTEL_EXPORTER_OTLP_${upper}_${name}`;
    return textOf(env, own) === '' ? `OTEL_EXPORTER_OTLP_${name}` : own;
  };

  const exporter = textOf(env, `OTEL_${upper}_EXPORTER`) || 'otlp';
  if (exporter === 'none') return undefined;
  if (exporter !== 'otlp') return refuse(`OTEL_${upper}_EXPORTER must be otlp or none`);
  const endpoint = variable('ENDPOINT');
  if (textOf(env, endpoint) === '') return undefined;
  if (!/^https?:\/\//i.test(textOf(env, endpoint)) || !URL.canParse(textOf(env, endpoint))) {
    return refuse(`${endpoint} must be a URL such as http://localhost:4318`);
  }
  const protocol = variable('PROTOCOL');
  const format = formats.find((each) => each === (textOf(env, protocol) || 'http/protobuf'));
  return format ?? refuse(`${protocol} must be http/protobuf or http/json (port 4318 of a collector)`);
}

function samplerOf(env: Environment, warnings: string[]): OtlpSampler {
  const text = textOf(env, 'OTEL_TRACES_SAMPLER') || 'parentbased_always_on';
  const root = rootSamplers.find((each) => each === text.replace(/^parentbased_/, ''));
  if (root === undefined) {
    const names = rootSamplers.join(', ');
    warnings.push(
      `OTEL_TRACES_SAMPLER must be one of ${names}, with or without parentbased_, so parentbased_always_on applies.`,
    );
  }
  const ratio = numberOf('OTEL_TRACES_SAMPLER_ARG', env, warnings, { min: 0, max: 1 }) ?? 1;
  return { root: root ?? 'always_on', isParentBased: root === undefined || root !== text, ratio };
}

/** Undefined if the variable is not set or its value is not allowed. Whole numbers, unless the maximum is 1. */
function numberOf(
  name: string,
  env: Environment,
  warnings: string[],
  { min, max }: { min: number; max: number },
): number | undefined {
  const text = textOf(env, name);
  if (text === '') return undefined;
  const value = Number(text);
  if (value >= min && value <= max && (max === 1 || Number.isInteger(value))) return value;
  warnings.push(`${name} must be a number from ${min} to ${max}, so its default applies.`);
  return undefined;
}
