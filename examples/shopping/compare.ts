/**
 * Compares the same aggregation over gRPC and over JSON on HTTP/1.1: latency, CPU and bytes on the wire, in one run. It runs
 * the aggregator's own code in this process; only the sources differ.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { createClient } from '@roster-directory/client';
import { statusOf } from './aggregator/call.ts';
import { listOffers, type Sources } from './aggregator/offers.ts';
import { connectToProductInfo, createProducts } from './aggregator/products.ts';
import { createSellers } from './aggregator/sellers.ts';
import { createTrace } from './aggregator/trace.ts';
import type { Product } from './generated/ecommerce/product_info.ts';
import { createJsonSources } from './json-sources.ts';
import { createServices, ensureUser, startDirectory, startProductInfo } from './services.ts';

const rounds = 10;
const answersPerRound = Number(process.env.COMPARE_ANSWERS ?? 100);
const answersForBytes = 20;
const productCount = 20;
const sellerCount = 10;
const deadlineMs = 5_000;

interface Addresses {
  readonly productInfo: string;
  readonly roster: string;
}
type Way = 'grpc' | 'json';

const ends = new DisposableStack();
await using services = createServices();
const { ROSTER_ADDRESS, ROSTER_HTTP, ROSTER_TOKEN: token } = process.env;
const directory =
  ROSTER_ADDRESS !== undefined && ROSTER_HTTP !== undefined
    ? { address: ROSTER_ADDRESS, http: ROSTER_HTTP }
    : await startDirectory(services);
const { listening } = await startProductInfo(services, ['-http', '127.0.0.1:0', '-spans=false']);
const addresses: Record<Way, Addresses> = {
  grpc: { productInfo: String(listening.grpc), roster: directory.address },
  json: { productInfo: String(listening.http), roster: directory.http.replace(/^http:\/\//, '') },
};

const products = await fill();
const productIds = products.map(({ id }) => id);
const byId = new Map(products.map((product) => [product.id, product]));

// Creates spans and ids as in the aggregator, but does not write them.
const trace = createTrace('aggregator', statusOf, () => {});
const neverAborted = new AbortController().signal;

const timed: Record<Way, Sources> = { grpc: grpcSources(addresses.grpc), json: jsonSources(addresses.json) };
assert.deepEqual(await answer(timed.grpc), await answer(timed.json));
assert.equal((await answer(timed.grpc)).outages.length, 0);
console.log(`Both ways give the same ${productCount} offers of ${sellerCount} sellers.\n`);

const parts: Record<string, (sources: Sources) => Sources> = {
  'whole answer': (sources) => sources,
  'products only': ({ getProduct }) => ({ getProduct, getSellers: async () => [] }),
  'sellers only': ({ getSellers }) => ({ getProduct: async (id) => byId.get(id), getSellers }),
};

for (const callers of [1, 8]) {
  const rows: Record<string, object> = {};
  for (const [name, partOf] of Object.entries(parts)) {
    rows[name] = rowOf(await measure(callers, { grpc: partOf(timed.grpc), json: partOf(timed.json) }));
  }
  console.log(
    `${callers} at a time, ${rounds * answersPerRound} answers each: ms, and ms of the aggregator's CPU for each answer`,
  );
  console.table(rows);
}
const counted = {
  grpc: await countedWire(addresses.grpc, grpcSources),
  json: await countedWire(addresses.json, jsonSources),
};
const rows: Record<string, object> = {};
for (const [name, partOf] of Object.entries(parts)) {
  rows[name] = bytesRow(await counted.grpc(partOf), await counted.json(partOf));
}
console.log('Bytes of one answer between the aggregator and the services, headers and frames included');
console.table(rows);
ends.dispose();

function grpcSources({ productInfo, roster }: Addresses): Sources {
  const client = ends.use(createClient({ address: roster, token }));
  const products = createProducts(ends.use(connectToProductInfo(productInfo)));
  return { getProduct: products, getSellers: ends.use(createSellers(client)).get };
}

function jsonSources({ productInfo, roster }: Addresses): Sources {
  return ends.use(createJsonSources(productInfo, roster, token));
}

function answer(sources: Sources) {
  const start = { name: 'shop.v1.Shop/ListOffers', traceparent: undefined };
  return trace(start, (traceparent) =>
    listOffers(productIds, sources, trace, {
      endMs: performance.now() + deadlineMs,
      signal: neverAborted,
      traceparent,
    }),
  );
}

interface Result {
  readonly latenciesMs: number[];
  cpuMs: number;
}

/** Alternates rounds of the two variants, so that other load on the machine affects both. */
async function measure(callers: number, sources: Record<Way, Sources>): Promise<Record<Way, Result>> {
  const results: Record<Way, Result> = { grpc: { latenciesMs: [], cpuMs: 0 }, json: { latenciesMs: [], cpuMs: 0 } };
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    const ways: Way[] = round % 2 === 0 ? ['grpc', 'json'] : ['json', 'grpc'];
    for (const way of ways) {
      const { latenciesMs, cpuMs } = await runRound(callers, sources[way]);
      if (round === 0) continue;
      results[way].latenciesMs.push(...latenciesMs);
      results[way].cpuMs += cpuMs;
    }
  }
  return results;
}

async function runRound(callers: number, sources: Sources): Promise<Result> {
  const latenciesMs: number[] = [];
  const before = process.cpuUsage();
  let left = answersPerRound;
  async function callAgainAndAgain(): Promise<void> {
    while (left-- > 0) {
      const startedMs = performance.now();
      const { offers, outages } = await answer(sources);
      latenciesMs.push(performance.now() - startedMs);
      // An incomplete answer would be fast.
      assert.equal(offers.length, productCount);
      assert.equal(outages.length, 0);
    }
  }
  await Promise.all(Array.from({ length: callers }, callAgainAndAgain));
  const { user, system } = process.cpuUsage(before);
  return { latenciesMs, cpuMs: (user + system) / 1000 };
}

function rowOf({ grpc, json }: Record<Way, Result>): object {
  const columns = (['p50', 'p99', 'CPU'] as const).map((name) => {
    const [ofGrpc, ofJson] = [grpc, json].map(({ latenciesMs, cpuMs }) => {
      if (name === 'CPU') return cpuMs / latenciesMs.length;
      const sorted = latenciesMs.toSorted((a, b) => a - b);
      return sorted[Math.floor(sorted.length * (name === 'p50' ? 0.5 : 0.99))] ?? Number.NaN;
    }) as [number, number];
    return compared(name, ofGrpc, ofJson, 2);
  });
  return Object.assign({}, ...columns);
}

function compared(name: string, ofGrpc: number, ofJson: number, digits: number): object {
  return {
    [`${name} gRPC`]: Number(ofGrpc.toFixed(digits)),
    [`${name} JSON`]: Number(ofJson.toFixed(digits)),
    [`${name} JSON/gRPC`]: Number((ofJson / ofGrpc).toFixed(2)),
  };
}

interface Wire {
  sent: number;
  received: number;
}

/** Sources that count every byte, and a function that returns the bytes of an answer. It measures no times. */
async function countedWire({ productInfo, roster }: Addresses, sourcesAt: (addresses: Addresses) => Sources) {
  const wire: Wire = { sent: 0, received: 0 };
  const sources = sourcesAt({ productInfo: await counter(productInfo, wire), roster: await counter(roster, wire) });
  return async (partOf: (sources: Sources) => Sources): Promise<Wire> => {
    const part = partOf(sources);
    // The first answer opens connections and sends one-time headers.
    await answer(part);
    await answer(part);
    const { sent, received } = wire;
    for (let count = 0; count < answersForBytes; count++) await answer(part);
    return { sent: (wire.sent - sent) / answersForBytes, received: (wire.received - received) / answersForBytes };
  };
}

/** A proxy to the server that counts bytes from the aggregator's point of view. */
async function counter(address: string, wire: Wire): Promise<string> {
  const [, host = '', port] = /^(.*):(\d+)$/.exec(address) ?? [];
  const server = createServer((inside) => {
    const outside = connect(Number(port), host);
    inside.on('data', ({ length }) => {
      wire.sent += length;
    });
    outside.on('data', ({ length }) => {
      wire.received += length;
    });
    inside.pipe(outside).pipe(inside);
    for (const socket of [inside, outside]) socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function bytesRow(grpc: Wire, json: Wire): object {
  return {
    ...compared('sent', grpc.sent, json.sent, 0),
    ...compared('received', grpc.received, json.received, 0),
  };
}

/** Creates sellers in the directory, and products with texts of ordinary length. */
async function fill(): Promise<Product[]> {
  using client = createClient({ address: addresses.grpc.roster, token });
  using productInfo = connectToProductInfo(addresses.grpc.productInfo);
  const sellerIds: string[] = [];
  for (let number = 0; number < sellerCount; number++) {
    const user = { firstName: 'Seller', lastName: `Number ${number}`, email: `seller-${number}@shop.example` };
    sellerIds.push(await ensureUser(client, user));
  }
  const filled: Product[] = [];
  for (let number = 0; number < productCount; number++) {
    const product: Product = {
      id: `product-${number}`,
      name: `Product number ${number}`,
      description: `A description of product number ${number} in one sentence, of a length that is usual on such pages.`,
      priceMinor: 1000 + number,
      sellerId: sellerIds[number % sellerCount] ?? '',
    };
    await productInfo.addProduct(product);
    filled.push(product);
  }
  return filled;
}
