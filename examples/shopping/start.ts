/**
 * Starts the shop with all its services, calls it once through the gateway as an app would, and prints the answer and its
 * trace. Then it serves until it is stopped.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@roster-directory/client';
import { connectToProductInfo } from './aggregator/products.ts';
import { createTrace, type Span } from './aggregator/trace.ts';
import { createServices, fillShop, startDirectory, startProductInfo } from './services.ts';
import { treeOf } from './span-tree.ts';

const { SHOP_HTTP = 'localhost:8088', PAGE_PORT = '8089' } = process.env;
const deadlineMs = 2_000;
// Services write a span when its work ends, which is after they send the answer.
const spansMsMax = 2_000;
// More than the first answer has. Spans of later answers are dropped.
const spansMax = 100;
const pageFiles = new Map([
  ['/', { name: 'index.html', type: 'text/html; charset=utf-8' }],
  ['/shop.js', { name: 'shop.js', type: 'text/javascript; charset=utf-8' }],
]);

const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
const spans: Span[] = [];
await using services = createServices((span) => {
  if (spans.length < spansMax) spans.push(span);
});

const { ROSTER_ADDRESS } = process.env;
const directory: { address: string; pid?: number } =
  ROSTER_ADDRESS === undefined ? await startDirectory(services) : { address: ROSTER_ADDRESS };
const productInfoService = await startProductInfo(services);
const productInfoAddress = String(productInfoService.listening.grpc);
const aggregator = await services.start('the aggregator', process.execPath, ['aggregator/main.ts'], {
  ROSTER_ADDRESS: directory.address,
  PRODUCT_INFO_ADDRESS: productInfoAddress,
});

using roster = createClient({ address: directory.address, token: process.env.ROSTER_TOKEN });
using productInfo = connectToProductInfo(productInfoAddress);
const productIds = await fillShop(roster, productInfo);

let gatewayUrl = '';
const page = createServer(servePage).listen(Number(PAGE_PORT), 'localhost');
await once(page, 'listening');
const pageUrl = `http://localhost:${(page.address() as AddressInfo).port}`;

const gateway = await services.startRoster('the gateway', [
  ...['gateway', '--target', String(aggregator.listening.grpc), '--descriptors', 'generated/shop.binpb'],
  ...['--http-address', SHOP_HTTP, '--cors-origins', pageUrl],
]);
gatewayUrl = `http://${gateway.listening.http}`;

console.log(`Roster is at ${directory.address}${processOf(directory)}.`);
console.log(`ProductInfo is at ${productInfoAddress}${processOf(productInfoService)}.`);
console.log(`The aggregator is at ${aggregator.listening.grpc}${processOf(aggregator)}.`);
console.log(`The gateway is at ${gatewayUrl}, the page at ${pageUrl}.\n`);

const trace = createTrace('app', String, (span) => spans.push(span));
const answer = await trace({ name: 'POST /shop.v1.Shop/ListOffers', traceparent: undefined, deadlineMs }, listOffers);
console.log(JSON.stringify(answer, undefined, 2));
await expectSpans(productIds.length);
console.log(`\n${treeOf(spans)}\n\nPress Ctrl-C to stop.`);

await stopped;
page.close();

function processOf({ pid }: { pid?: number }): string {
  return pid === undefined ? '' : ` (process ${pid})`;
}

/** Does the same as a curl command. */
async function listOffers(traceparent: string): Promise<unknown> {
  const response = await fetch(`${gatewayUrl}/shop.v1.Shop/ListOffers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'connect-timeout-ms': String(deadlineMs), traceparent },
    body: JSON.stringify({ productIds }),
  });
  if (!response.ok) throw new Error(`The gateway answered with ${response.status}: ${await response.text()}`);
  return response.json();
}

/** Waits for the spans, which arrive over separate pipes. If some are missing, the tree shows the others. */
async function expectSpans(calls: number): Promise<void> {
  const untilMs = performance.now() + spansMsMax;
  // One span of the app, one of the aggregator, two for each call of ProductInfo, and one of Roster.
  while (spans.length < 3 + 2 * calls && performance.now() < untilMs) await sleep(10);
}

/** Serves the page, its script, and the URL of its gateway. */
async function servePage(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const file = pageFiles.get(request.url ?? '');
  if (request.url === '/gateway') response.end(gatewayUrl);
  else if (file === undefined) response.writeHead(404).end();
  else response.setHeader('content-type', file.type).end(await readFile(`${import.meta.dirname}/page/${file.name}`));
}
