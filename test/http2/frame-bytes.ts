/** The bytes of a client: frames (RFC 9113, section 4.1) and header blocks without tables. */

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export function frame(type: number, flags: number, id: number, payload: Uint8Array | string = ''): Buffer {
  const bytes = Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUIntBE(bytes.length, 0, 3);
  head.writeUIntBE(type * 256 + flags, 3, 2);
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, bytes]);
}

export function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A block of a request. Names and values have at most 126 characters. */
export function requestBlock(fields: readonly string[] = []): Buffer {
  const all = [':method', 'POST', ':scheme', 'http', ':path', '/', ...fields];
  return Buffer.concat(
    all.map((text, index) =>
      Buffer.concat([Buffer.from(index % 2 === 0 ? [0, text.length] : [text.length]), Buffer.from(text)]),
    ),
  );
}
