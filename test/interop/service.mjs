/**
 * gRPC's interoperability test service for nice-grpc.
 * https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md
 */
import { setTimeout as delay } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { ServerError } from 'nice-grpc-common';

const echoedHeader = 'x-grpc-test-echo-initial';
const echoedTrailer = 'x-grpc-test-echo-trailing-bin';

/** Returns the implementations of TestService and of OpenRcaService, which reports the load that a test has set. */
export function testServices(registry) {
  const reportSchema = registry.getMessage('xds.data.orca.v3.OrcaLoadReport');
  let load = {};

  const test = {
    async emptyCall() {
      return {};
    },

    async unaryCall(request, context) {
      echoMetadata(context);
      throwStatus(request.responseStatus);
      if (request.orcaPerQueryReport !== undefined) {
        const report = create(reportSchema, reportOf(request.orcaPerQueryReport));
        context.trailer.set('endpoint-load-metrics-bin', toBinary(reportSchema, report));
      }
      return { ...payloadOf(request.responseSize), serverId: request.fillServerId ? 'roster' : '' };
    },

    streamingOutputCall: sendAll,

    async streamingInputCall(requests) {
      let aggregatedPayloadSize = 0;
      for await (const { payload } of requests) aggregatedPayloadSize += payload?.body.length ?? 0;
      return { aggregatedPayloadSize };
    },

    async *fullDuplexCall(requests, context) {
      echoMetadata(context);
      for await (const request of requests) {
        throwStatus(request.responseStatus);
        if (request.orcaOobReport !== undefined) load = reportOf(request.orcaOobReport);
        yield* sendAll(request, context);
      }
    },

    async *halfDuplexCall(requests, context) {
      for (const request of await Array.fromAsync(requests)) yield* sendAll(request, context);
    },
  };

  const orca = {
    async *streamCoreMetrics({ reportInterval }, { signal }) {
      const intervalMs = Number(reportInterval?.seconds ?? 0) * 1000 + (reportInterval?.nanos ?? 0) / 1e6;
      while (true) {
        yield load;
        await delay(Math.max(intervalMs, 100), undefined, { signal });
      }
    },
  };
  return { test, orca };
}

async function* sendAll({ responseParameters }, { signal }) {
  for (const { size, intervalUs } of responseParameters) {
    if (intervalUs > 0) await delay(intervalUs / 1000, undefined, { signal });
    yield payloadOf(size);
  }
}

function payloadOf(size) {
  return { payload: { body: new Uint8Array(size) } };
}

function echoMetadata(context) {
  const header = context.metadata.get(echoedHeader);
  const trailer = context.metadata.get(echoedTrailer);
  if (header !== undefined) context.header.set(echoedHeader, header);
  if (trailer !== undefined) context.trailer.set(echoedTrailer, trailer);
  if (header !== undefined) context.sendHeader();
}

function throwStatus(status) {
  if (status !== undefined && status.code !== 0) throw new ServerError(status.code, status.message);
}

function reportOf({ cpuUtilization, memoryUtilization, requestCost, utilization }) {
  return { cpuUtilization, memUtilization: memoryUtilization, requestCost, utilization };
}
