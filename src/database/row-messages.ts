/**
 * Lets queries receive rows as the bytes that Postgres sent.
 *
 * The driver makes a string of each cell before a query sees the row. This module takes the messages with rows out of
 * the stream before the driver parses it, and leaves their bytes unchanged. It decodes the cells only when one of the
 * driver's own queries reads them.
 */
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import type pg from 'pg';
import { lengthBytes, readInt32 } from '../model/stored-user.js';

/** The driver's types do not declare this method. It calls the parser for each `data` of the stream. */
interface DriverConnection extends pg.Connection {
  attachListeners(stream: EventEmitter): void;
}

// The type and the length of a message.
const headerBytes = 5;
const rowType = 'D'.charCodeAt(0);
// The number of cells.
const countBytes = 2;
// Postgres sends no larger row. A larger message is invalid, and is left to the driver.
const rowBytesMax = 2 ** 30;

/** A row as a message of the protocol, with the property that the driver's own queries read. */
export class RowMessage {
  readonly name = 'dataRow';
  /** The offset of the first cell. */
  readonly start: number;

  /** `message` is the offset of the message, and `end` the offset after it. */
  constructor(
    readonly bytes: Buffer,
    message: number,
    readonly end: number,
  ) {
    this.start = message + headerBytes + countBytes;
  }

  get fields(): (string | null)[] {
    const fields: (string | null)[] = [];
    for (let at = this.start; at < this.end; ) {
      const length = readInt32(this.bytes, at);
      at += lengthBytes;
      if (length < 0) {
        fields.push(null);
        continue;
      }
      fields.push(this.bytes.toString('utf8', at, at + length));
      at += length;
    }
    return fields;
  }
}

/** Makes a client that has not connected yet emit rows as RowMessages. */
export function receiveRowMessages(client: pg.Client): void {
  const connection = client.connection as DriverConnection;
  const attachParser = connection.attachListeners.bind(connection);
  connection.attachListeners = (stream: Duplex) => {
    const rest = new EventEmitter();
    attachParser(rest);
    const receive = createRowSplitter(
      (row) => connection.emit('dataRow', row),
      (bytes) => rest.emit('data', bytes),
    );
    stream.on('data', receive);
    stream.on('end', () => rest.emit('end'));
  };
}

/**
 * Splits the stream into the messages with rows, and the bytes of the other messages, in their order. Rows stay in the
 * buffers that the socket filled, except rows that are spread over several buffers.
 */
export function createRowSplitter(
  onRow: (row: RowMessage) => void,
  onOther: (bytes: Buffer) => void,
): (bytes: Buffer) => void {
  /** The start of a message whose length has not arrived completely. */
  let header: Buffer | undefined;
  /** The row that has not arrived completely, and how many of its bytes have. */
  let row: Buffer | undefined;
  let rowBytes = 0;
  /** How many bytes of another message have not arrived. */
  let missingBytes = 0;

  return (received) => {
    const bytes = header === undefined ? received : Buffer.concat([header, received]);
    header = undefined;
    let at = 0;
    if (row !== undefined) {
      at = bytes.copy(row, rowBytes);
      rowBytes += at;
      if (rowBytes < row.length) return;
      const complete = row;
      row = undefined;
      onRow(new RowMessage(complete, 0, complete.length));
    }
    let other = at;
    at += missingBytes;
    missingBytes = 0;
    while (at + headerBytes <= bytes.length) {
      const end = at + 1 + (readInt32(bytes, at + 1) >>> 0);
      if (bytes[at] === rowType && end - at <= rowBytesMax) {
        if (other < at) onOther(bytes.subarray(other, at));
        if (end > bytes.length) {
          row = Buffer.allocUnsafeSlow(end - at);
          rowBytes = bytes.copy(row, 0, at);
          return;
        }
        onRow(new RowMessage(bytes, at, end));
        other = end;
      }
      at = end;
    }
    if (at > bytes.length) missingBytes = at - bytes.length;
    else if (at < bytes.length) header = bytes.subarray(at);
    const otherEnd = Math.min(at, bytes.length);
    if (other < otherEnd) onOther(bytes.subarray(other, otherEnd));
  };
}
