/** A DNS server for tests: it answers every question for IPv4 addresses with the same list. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

export interface DnsServer extends AsyncDisposable {
  readonly port: number;
  setAddresses(addresses: readonly string[]): void;
}

// RFC 1035, section 4.1.
const headerBytes = 12;
const typeA = 1;
const isResponse = 0x8000;
// In an answer: the name of the question, which follows the header.
const sameName = 0xc000 + headerBytes;

export async function startDnsServer(initial: readonly string[]): Promise<DnsServer> {
  let addresses = initial;
  const socket = createSocket('udp4');
  socket.on('message', (query, { address, port }) => {
    socket.send(responseTo(query, addresses), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    port: socket.address().port,
    setAddresses(now) {
      addresses = now;
    },
    async [Symbol.asyncDispose]() {
      socket.close();
    },
  };
}

function responseTo(query: Buffer, addresses: readonly string[]): Buffer {
  // The name ends with an empty label; the type and the class of the question follow.
  const questionEnd = query.indexOf(0, headerBytes) + 5;
  const isQuestionForA = query.readUInt16BE(questionEnd - 4) === typeA;
  const answers = (isQuestionForA ? addresses : []).map(answer);
  const response = Buffer.concat([query.subarray(0, questionEnd), ...answers]);
  response.writeUInt16BE(isResponse | query.readUInt16BE(2), 2);
  response.writeUInt16BE(answers.length, 6);
  // The query may have additional records, which are not repeated.
  response.writeUInt16BE(0, 10);
  return response;
}

function answer(address: string): Buffer {
  const record = Buffer.alloc(16);
  record.writeUInt16BE(sameName, 0);
  record.writeUInt16BE(typeA, 2);
  record.writeUInt16BE(1, 4);
  record.writeUInt32BE(0, 6);
  record.writeUInt16BE(4, 10);
  record.set(address.split('.').map(Number), 12);
  return record;
}
