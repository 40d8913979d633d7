/** Sends sequences with random damage, of which the server must survive all. */
import { connect } from 'node:net';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';

const headBytes = 9;
const prefaceBytes = 24;

/** Divides whole frames from each other. The preface belongs to the first one. */
function framesOf(steps) {
  const all = Buffer.concat(steps.map(({ bytes }) => bytes));
  const frames = [];
  for (let at = 0; at < all.length; ) {
    const head = at === 0 ? prefaceBytes : at;
    const end = head + headBytes + all.readUIntBE(head, 3);
    frames.push(all.subarray(at, end));
    at = end;
  }
  return frames;
}

function damageFrames(frames, random) {
  const at = random(frames.length);
  const other = random(frames.length);
  const [first, second] = [Buffer.from(frames[at]), frames[other]];
  frames[at] = first;
  const head = first.subarray(0, 3).toString() === 'PRI' ? prefaceBytes : 0;
  // An earlier change has cut the frame off.
  if (first.length < head + headBytes) return;
  switch (random(9)) {
    case 0:
      [frames[at], frames[other]] = [second, first];
      break;
    case 1:
      frames.splice(at, 1);
      break;
    case 2:
      frames.splice(at, 0, ...Array.from({ length: 1 + random(20) }, () => second));
      break;
    case 3:
      first[head + 3] = random(12);
      break;
    case 4:
      first[head + 4] ^= 1 << random(8);
      break;
    case 5:
      first.writeUInt32BE(random(2) === 0 ? random(2 * frames.length) : random(2 ** 32), head + 5);
      break;
    case 6:
      first.writeUIntBE(random(2) === 0 ? random(200) : random(2 ** 24), head, 3);
      break;
    case 7:
      frames[at] = first.subarray(0, random(first.length + 1));
      break;
    default:
      if (first.length > head + headBytes) first.writeUInt8(random(256), first.length - 1);
  }
  if (frames.length === 0) frames.push(Buffer.alloc(1));
}

function damageBytes(bytes, random) {
  const at = random(bytes.length + 1);
  const length = random(random(2) === 0 ? 10 : 1000);
  const any = () => Buffer.from(Array.from({ length }, () => random(256)));
  switch (random(5)) {
    case 0:
      return Buffer.concat([bytes.subarray(0, at), any(), bytes.subarray(at)]);
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - length))]);
    case 3:
      return bytes.subarray(0, at);
    default: {
      const changed = Buffer.from(bytes);
      if (at < bytes.length) changed[at] = random(256);
      return changed;
    }
  }
}

/** Resolves with the error code of the server's GOAWAY, if it sent one, when the connection has ended. */
export async function runMutation(port, { steps }, random) {
  const frames = framesOf(steps);
  for (let count = random(4); count > 0; count--) damageFrames(frames, random);
  let bytes = Buffer.concat(frames);
  for (let count = random(3); count > 0; count--) bytes = damageBytes(bytes, random);

  const socket = connect(port, '127.0.0.1');
  const received = [];
  socket.on('data', (chunk) => received.push(chunk));
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  let at = 0;
  const pieces = Array.from({ length: random(8) }, () => random(bytes.length + 1)).sort((a, b) => a - b);
  for (const cut of [...pieces, bytes.length]) {
    if (!socket.destroyed) socket.write(bytes.subarray(at, cut));
    at = cut;
    if (random(2) === 0) await nextTurn();
  }
  if (random(4) === 0) socket.pause();
  await Promise.race([closed, delay(random(40))]);
  if (random(3) === 0) socket.end();
  else if (random(2) === 0) socket.resetAndDestroy();
  else socket.destroy();
  socket.resume();
  await Promise.race([closed, delay(200)]);
  socket.destroy();
  await closed;
  return goawayCode(Buffer.concat(received));
}

function goawayCode(bytes) {
  let code;
  for (let at = 0; at + headBytes <= bytes.length; at += headBytes + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === 7 && at + 17 <= bytes.length) code = bytes.readUInt32BE(at + 13);
  }
  return code;
}
