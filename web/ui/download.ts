/** Builds text files that the browser can keep on disk, and downloads them. */

// Browsers keep large blobs on disk, but strings in memory.
const partLengthMax = 1_000_000;

export interface BlobWriter {
  write(text: string): void;
  blob(): Blob;
}

export function createBlobWriter(type: string, header = ''): BlobWriter {
  const parts: Blob[] = [];
  let rest = header;
  const flush = () => {
    parts.push(new Blob([rest]));
    rest = '';
  };
  return {
    write(text) {
      rest += text;
      if (rest.length >= partLengthMax) flush();
    },
    blob() {
      flush();
      return new Blob(parts, { type });
    },
  };
}

export function download(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // After the download has started, the browser no longer needs the URL.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
