/** Reads the settings of a client (RFC 9113, section 6.5). */
import { ConnectionError, errorCode, payloadBytesMax, settingId, windowBytesMax } from './frames.js';

const settingBytes = 6;
const frameSizeMax = 2 ** 24 - 1;

/** Returns the last SETTINGS_INITIAL_WINDOW_SIZE. Throws a ConnectionError if a value is not allowed. */
export function readInitialWindow(bytes: Buffer, from: number, to: number): number | undefined {
  if ((to - from) % settingBytes !== 0) {
    throw new ConnectionError(errorCode.frameSizeError, 'The length of SETTINGS is not a multiple of six.');
  }
  let initialWindow: number | undefined;
  for (let at = from; at < to; at += settingBytes) {
    const value = bytes.readUInt32BE(at + 2);
    switch (bytes.readUInt16BE(at)) {
      case settingId.enablePush:
        if (value > 1) throw new ConnectionError(errorCode.protocolError, 'ENABLE_PUSH must be 0 or 1.');
        break;
      case settingId.initialWindowSize:
        if (value > windowBytesMax) {
          throw new ConnectionError(errorCode.flowControlError, 'INITIAL_WINDOW_SIZE is too large.');
        }
        initialWindow = value;
        break;
      case settingId.maxFrameSize:
        // Larger frames would only delay those of other streams, so the server sends none.
        if (value < payloadBytesMax || value > frameSizeMax) {
          throw new ConnectionError(errorCode.protocolError, 'MAX_FRAME_SIZE is out of range.');
        }
        break;
      default:
      // HEADER_TABLE_SIZE does not matter, because the server's blocks use no table.
    }
  }
  return initialWindow;
}
