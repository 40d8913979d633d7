/** Metadata that is created when it is first used, because most handlers use none. */
import type { Metadata, MetadataValue } from 'nice-grpc-common';
import { metadataOf } from './protocol.js';
import type { HeaderFields } from './stream.js';

export class LazyMetadata implements Metadata {
  #created: Metadata | undefined;

  /** `fields` is the header that contains the metadata. */
  constructor(private readonly fields: HeaderFields = []) {}

  get isEmpty(): boolean {
    if (this.#created === undefined && this.fields.length === 0) return true;
    for (const _ of this.#all) return false;
    return true;
  }

  set<Key extends string>(key: Key, value: MetadataValue<Key> | MetadataValue<Key>[]): Metadata {
    this.#all.set(key, value);
    return this;
  }

  append<Key extends string>(key: Key, value: MetadataValue<Key>): Metadata {
    this.#all.append(key, value);
    return this;
  }

  delete(key: string): void {
    this.#all.delete(key);
  }

  get<Key extends string>(key: Key): MetadataValue<Key> | undefined {
    return this.#lacks(key) ? undefined : this.#all.get(key);
  }

  getAll<Key extends string>(key: Key): MetadataValue<Key>[] {
    return this.#lacks(key) ? [] : this.#all.getAll(key);
  }

  has(key: string): boolean {
    return this.#all.has(key);
  }

  [Symbol.iterator](): IterableIterator<[string, (string | Uint8Array)[]]> {
    return this.#all[Symbol.iterator]();
  }

  /** Whether the header certainly has no such field. Reading all of its fields takes longer. */
  #lacks(key: string): boolean {
    return this.#created === undefined && !this.fields.includes(key.toLowerCase());
  }

  get #all(): Metadata {
    this.#created ??= metadataOf(this.fields);
    return this.#created;
  }
}
