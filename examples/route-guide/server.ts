/** The RouteGuide service: one handler for each of gRPC's four kinds of calls, and middleware for all of them. */
import { type CallContext, createServer, ServerError, type ServerMiddlewareCall, Status } from 'nice-grpc';
import { type Point, RouteGuideDefinition, type RouteGuideServiceImplementation } from './generated/route_guide.ts';
import { metresBetween } from './metres-between.ts';
import { places } from './places.ts';

// Keeps the newest notes of the newest places. With the limit on messages this is at most 64 MB of text, or twice as much
// memory for some characters.
const notesMax = 10;
const locationsMax = 100;
const messageBytesMax = 64 * 1024;

const keyOf = ({ Latitude, Longitude }: Point) => `${Latitude},${Longitude}`;
const placesByKey = new Map(places.map((place) => [keyOf(place.location), place]));
const notesByKey = new Map<string, string[]>();

function checked(point: Point | undefined): Point {
  if (point !== undefined && Math.abs(point.Latitude) <= 90e7 && Math.abs(point.Longitude) <= 180e7) return point;
  throw new ServerError(Status.INVALID_ARGUMENT, 'A point must be within 90 degrees of latitude and 180 of longitude.');
}

const routeGuide: RouteGuideServiceImplementation = {
  // One request, one response.
  async getFeature(request, { metadata, header, trailer }) {
    const point = checked(request);
    // Metadata is separate from messages: the client sends it, and receives it before and after the response.
    header.set('greeting', `hello, ${metadata.get('caller') ?? 'stranger'}`);
    trailer.set('server-memory-mb', Math.round(process.memoryUsage.rss() / 1e6).toString());
    return placesByKey.get(keyOf(point)) ?? { name: '', location: point };
  },

  // One request, many responses. `yield` waits until the client can receive.
  async *listFeatures({ lo, hi }) {
    const [a, b] = [checked(lo), checked(hi)];
    const isWithin = (value: number, one: number, other: number) =>
      Math.min(one, other) <= value && value <= Math.max(one, other);
    for (const place of places) {
      const { Latitude, Longitude } = place.location;
      if (isWithin(Latitude, a.Latitude, b.Latitude) && isWithin(Longitude, a.Longitude, b.Longitude)) yield place;
    }
  },

  // Many requests, one response.
  async recordRoute(points) {
    let pointCount = 0;
    let featureCount = 0;
    let metres = 0;
    let firstMs = 0;
    let lastMs = 0;
    let previous: Point | undefined;
    for await (const point of points) {
      checked(point);
      lastMs = performance.now();
      if (previous === undefined) firstMs = lastMs;
      else metres += metresBetween(previous, point);
      pointCount++;
      if (placesByKey.has(keyOf(point))) featureCount++;
      previous = point;
    }
    // The contract's int32 can hold 53 times round the Earth.
    const distance = Math.min(Math.round(metres), 2 ** 31 - 1);
    return { pointCount, featureCount, distance, elapsedTime: Math.round((lastMs - firstMs) / 1000) };
  },

  // Many of both, in any order: each note gets the earlier notes of the same place as responses.
  async *routeChat(notes) {
    for await (const { location: point, message } of notes) {
      const location = checked(point);
      const key = keyOf(location);
      const earlier = notesByKey.get(key) ?? [];
      notesByKey.delete(key);
      notesByKey.set(key, [...earlier, message].slice(-notesMax));
      for (const oldest of notesByKey.keys()) {
        if (notesByKey.size <= locationsMax) break;
        notesByKey.delete(oldest);
      }
      for (const message of earlier) yield { location, message };
    }
  },
};

/** Logs how each call ended. */
async function* log<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
  const startMs = performance.now();
  let end = Status[Status.OK];
  try {
    return yield* call.next(call.request, context);
  } catch (error) {
    end = Status[error instanceof ServerError ? error.code : Status.UNKNOWN];
    throw error;
  } finally {
    // A handler that waits for the next request during a cancellation may only see the end of the requests.
    if (context.signal.aborted) end = 'cancelled by the client or by its deadline';
    console.log(`${call.method.path}: ${end}, ${Math.round(performance.now() - startMs)} ms`);
  }
}

const server = createServer({ 'grpc.max_receive_message_length': messageBytesMax }).use(log);
server.add(RouteGuideDefinition, routeGuide);
const port = await server.listen(process.env.ROUTE_GUIDE_ADDRESS ?? 'localhost:50052');
console.log(`Serving on localhost:${port}`);
