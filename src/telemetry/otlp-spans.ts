/**
 * Records spans of calls, of their wait for a shared statement, of shared statements and of HTTP requests, with the
 * names of OpenTelemetry's conventions. Like the log, spans have no data of users, no addresses and no error texts.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { describeError } from './error-description.js';
import { isServerError, otherMethod } from './metrics.js';
import type { CallSpan, HttpRequestTrace, RequestSpan, SharedStatement, Tracing, WaitSpan } from './tracing.js';

type Header = (name: string) => string | undefined;

const propagator = new W3CTraceContextPropagator();
const getter: TextMapGetter<Header> = { keys: () => [], get: (header, name) => header(name) };
const setter = {
  set(headers: Record<string, string>, name: string, value: string) {
    headers[name] = value;
  },
};

const operations: Readonly<Record<string, string>> = {
  create: 'INSERT',
  get: 'SELECT',
  get_by_email: 'SELECT',
  update: 'UPDATE',
  delete: 'DELETE',
};

const contextOf = (span: Span): Context => trace.setSpan(ROOT_CONTEXT, span);
const parentOf = (header: Header): Context => propagator.extract(ROOT_CONTEXT, header, getter);

export function createTracing(tracer: Tracer): Tracing {
  const running = new AsyncLocalStorage<CallSpan>();
  return {
    startCall(method, header) {
      const attributes = { 'rpc.system.name': 'grpc', 'rpc.method': method };
      const name = method === otherMethod ? 'grpc' : method;
      return callSpan(tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parentOf(header)), running);
    },
    startRequest: (request) => requestSpan(tracer, request),
    active: () => running.getStore(),
    startWait(statement, { span }) {
      const attributes = { 'roster.statement': statement };
      return waitSpan(tracer.startSpan('queue', { attributes }, contextOf(span)));
    },
    traceStatement: (statement, run) => traceStatement(tracer, statement, run),
  };
}

function callSpan(span: Span, running: AsyncLocalStorage<CallSpan>): CallSpan {
  const call: CallSpan = {
    span,
    traceId: span.spanContext().traceId,
    run(work) {
      if (span.isRecording()) running.run(call, work);
      else work();
    },
    end: (status, reason) => endCall(span, status, reason),
  };
  return call;
}

function waitSpan(span: Span): WaitSpan {
  return {
    end() {
      if (span.isRecording()) span.end();
    },
  };
}

function requestSpan(tracer: Tracer, { method, path, header }: HttpRequestTrace): RequestSpan {
  const attributes = { 'http.request.method': method, 'http.route': path, 'url.path': path };
  const span = tracer.startSpan(`${method} ${path}`, { kind: SpanKind.SERVER, attributes }, parentOf(header));
  const headers: Record<string, string> = {};
  propagator.inject(contextOf(span), headers, setter);
  return {
    traceId: span.spanContext().traceId,
    headers,
    end({ httpStatus, status, reason }) {
      if (httpStatus !== undefined) span.setAttribute('http.response.status_code', httpStatus);
      if (httpStatus !== undefined && httpStatus >= 500) fail(span, String(httpStatus));
      if (status === undefined) span.end();
      else endCall(span, status, reason);
    },
  };
}

function endCall(span: Span, status: string, reason: string | undefined): void {
  span.setAttribute('rpc.response.status_code', status);
  if (reason !== undefined) span.setAttribute('roster.reason', reason);
  if (isServerError(status)) fail(span, status);
  span.end();
}

/** The span belongs to the trace of its first call. The other calls have a link to it. */
async function traceStatement<T>(
  tracer: Tracer,
  { name, rows, calls }: SharedStatement,
  run: () => PromiseLike<T>,
): Promise<T> {
  const [first] = calls;
  if (first === undefined) return run();
  const operation = operations[name] ?? name;
  const summary = `${operation} users`;
  const span = tracer.startSpan(
    summary,
    {
      kind: SpanKind.CLIENT,
      attributes: {
        'db.system.name': 'postgresql',
        'db.operation.name': operation,
        'db.collection.name': 'users',
        'db.query.summary': summary,
        'roster.statement': name,
        ...(rows > 1 && { 'db.operation.batch.size': rows }),
      },
      links: calls.map((call) => ({ context: call.span.spanContext() })),
    },
    contextOf(first.span),
  );
  for (const call of calls) if (call !== first) call.span.addLink({ context: span.spanContext() });
  try {
    return await run();
  } catch (error) {
    fail(span, typeOf(error));
    throw error;
  } finally {
    span.end();
  }
}

/** A SQLSTATE, the code of a socket's error, the reason of a fault, or the error's class: no text. */
function typeOf(error: unknown): string {
  const { cause, code, reason, type } = describeError(error);
  return String(cause?.code ?? reason ?? code ?? type);
}

function fail(span: Span, type: string): void {
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}
