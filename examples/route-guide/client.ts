/** Makes each of gRPC's four kinds of calls, and shows metadata, a deadline, a cancellation and flow control. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientError, createChannel, createClient, Metadata, Status } from 'nice-grpc';
import { type Point, RouteGuideDefinition } from './generated/route_guide.ts';
import { places, toPoint } from './places.ts';

const channel = createChannel(process.env.ROUTE_GUIDE_ADDRESS ?? 'localhost:50052');
const client = createClient(RouteGuideDefinition, channel);

function pointOf(city: string): Point {
  const place = places.find(({ name }) => name === city);
  if (place === undefined) throw new Error(`No place is named ${city}.`);
  return place.location;
}

// Unary: await a function.
async function getFeature(): Promise<void> {
  const tbilisi = await client.getFeature(toPoint(41.72, 44.79));
  console.log('GetFeature:', tbilisi.name);
  const nowhere = await client.getFeature(toPoint(0, 0));
  console.log('GetFeature:', nowhere.name || 'no place at this point');
  try {
    await client.getFeature(toPoint(91, 0));
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    console.log('GetFeature:', Status[error.code], error.details);
  }
}

// Server streaming: iterate over the responses.
async function listFeatures(): Promise<void> {
  const names: string[] = [];
  for await (const { name } of client.listFeatures({ lo: toPoint(55, 5), hi: toPoint(70, 30) })) names.push(name);
  console.log('ListFeatures:', names.join(', '));
}

// Client streaming: pass an iterable of requests.
async function recordRoute(): Promise<void> {
  async function* route() {
    for (const city of ['Lisbon', 'Madrid', 'Paris', 'Berlin', 'Warsaw', 'Kyiv']) yield pointOf(city);
    yield toPoint(50, 36);
  }
  const { pointCount, featureCount, distance } = await client.recordRoute(route());
  console.log(`RecordRoute: ${pointCount} points, ${featureCount} of them features, ${Math.round(distance / 1000)} km`);
}

// Bidirectional streaming: both at once. Requests may depend on earlier responses.
async function routeChat(): Promise<void> {
  const location = pointOf('Reykjavík');
  const answered = Promise.withResolvers<void>();
  async function* notes() {
    yield { location, message: 'Bring a coat.' };
    yield { location, message: 'And an umbrella?' };
    await answered.promise;
    yield { location, message: 'The wind takes it.' };
  }
  for await (const { message } of client.routeChat(notes())) {
    console.log('RouteChat:', message);
    answered.resolve();
  }
}

async function metadata(): Promise<void> {
  await client.getFeature(pointOf('Oslo'), {
    metadata: Metadata({ caller: 'the client' }),
    onHeader: (header) => console.log('Metadata, header:', header.get('greeting')),
    onTrailer: (trailer) => console.log('Metadata, trailer: server-memory-mb', trailer.get('server-memory-mb')),
  });
}

// The server stops working on the call at its deadline. The signal is for an unreachable server.
async function deadline(): Promise<void> {
  const deadlineMs = 300;
  async function* slowRoute() {
    for (const { location } of places) {
      yield location;
      await sleep(100);
    }
  }
  try {
    await client.recordRoute(slowRoute(), {
      metadata: Metadata({ 'grpc-timeout': `${deadlineMs}m` }),
      signal: AbortSignal.timeout(deadlineMs + 5_000),
    });
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    console.log('Deadline:', Status[error.code]);
  }
}

/** Notes of 60 KB, each of which gets up to ten replies, and a count of the sent notes. */
function createNotes(location: Point, notesMax: number) {
  const message = 'x'.repeat(60_000);
  let sent = 0;
  return {
    sent: () => sent,

    async *[Symbol.asyncIterator]() {
      for (; sent < notesMax; sent++) yield { location, message };
    },

    // A client cannot see that the server does not read. It assumes this if it could send no note for a second.
    async untilBlocked(): Promise<void> {
      for (let before = -1; before !== sent; ) {
        before = sent;
        await sleep(1_000);
      }
    },
  };
}

async function cancellation(): Promise<void> {
  const notes = createNotes(pointOf('Suva'), Number.POSITIVE_INFINITY);
  const controller = new AbortController();
  try {
    for await (const _ of client.routeChat(notes, { signal: controller.signal })) {
      await notes.untilBlocked();
      controller.abort();
      // Responses that have already arrived could still be read. Leaving the loop alone would cancel the call as well.
      break;
    }
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    console.log('Cancellation: cancelled an endless call');
  }
}

// A client that does not read blocks the server's writes, and a blocked server reads no more requests.
async function flowControl(): Promise<void> {
  const location = pointOf('Singapore');
  const serverMemory = async () => {
    let megabytes: string | undefined;
    await client.getFeature(location, {
      onTrailer: (trailer) => {
        megabytes = trailer.get('server-memory-mb');
      },
    });
    return `the server uses ${megabytes} MB`;
  };

  console.log('Flow control: at the start', await serverMemory());
  const notesMax = 300;
  const notes = createNotes(location, notesMax);
  let replies = 0;
  for await (const _ of client.routeChat(notes)) {
    replies++;
    if (replies > 1) continue;
    await notes.untilBlocked();
    // Another call on the same connection is answered meanwhile.
    console.log(`Flow control: unread, after ${notes.sent()} of ${notesMax} notes,`, await serverMemory());
  }
  console.log(`Flow control: read, all ${notes.sent()} notes and ${replies} replies of 60 KB,`, await serverMemory());
}

for (const show of [getFeature, listFeatures, recordRoute, routeChat, metadata, deadline, cancellation, flowControl]) {
  await show();
}
channel.close();
