/** The frames of HTTP/2: their types, flags, settings and error codes (RFC 9113, sections 4, 6 and 7). */

export const frameHeaderBytes = 9;
/** The largest payload that this side accepts and sends, which is the smallest limit that the RFC allows. */
export const payloadBytesMax = 16_384;
export const windowBytesDefault = 65_535;
export const windowBytesMax = 2 ** 31 - 1;
export const streamIdMax = 2 ** 31 - 1;
/** The largest header list that this side accepts, as RFC 9113 counts it in section 6.5.2. */
export const headerListBytesMax = 64 * 1024;

export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const frameFlag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

export const settingId = {
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const errorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  compressionError: 9,
  enhanceYourCalm: 11,
} as const;

/** Ends the whole connection, with a GOAWAY that carries the code and the message (RFC 9113, section 5.4.1). */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';

  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

export const protocolError = (message: string) => new ConnectionError(errorCode.protocolError, message);
export const frameSizeError = (message: string) => new ConnectionError(errorCode.frameSizeError, message);
export const compressionError = (message: string) => new ConnectionError(errorCode.compressionError, message);
export const flowControlError = (message: string) => new ConnectionError(errorCode.flowControlError, message);

/** Returns the end of a payload without its padding (section 6.1). The data of a padded frame begins one byte later. */
export function endWithoutPadding(flags: number, bytes: Buffer, from: number, to: number): number {
  if ((flags & frameFlag.padded) === 0) return to;
  const end = to - (bytes[from] ?? 0);
  if (from >= to || end <= from) throw protocolError('The padding is longer than the frame.');
  return end;
}
